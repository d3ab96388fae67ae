@rollback
Feature: Platform outage: what the platform does not do is not claimed
  The platform may be down, refuse, lose a reply or never finish. Nothing is asked
  twice, and nobody is told that production is restored when it is not.

  Background:
    Given v1 is known to be good and v2 is live

  Scenario: The platform is down
    Given the platform answers nothing but 503
    When v2 is rolled back by hand
    Then the command ends with exit code 2 and says "We are down"
    And every production host serves v2

  Scenario: The platform refuses, and its words are passed on
    Given the platform refuses the rollback because of the plan
    When v2 is rolled back by hand
    Then the command ends as escalated and says "upgrade to pro"
    And every production host serves v2
    And a person is called

  Scenario: A reply is lost, and the rollback was taken
    Given the platform takes the rollback and its reply is lost
    When v2 is rolled back by hand
    Then the command ends as restored
    And every production host serves v1
    And the platform was asked for one rollback

  Scenario: The platform's job never ends
    Given the platform's jobs never end
    When v2 is rolled back by hand
    Then the command ends as escalated and says "may still run"
    And the platform was asked for one rollback

  Scenario: The platform's job fails
    Given the platform's jobs fail
    When v2 is rolled back by hand
    Then the command ends as escalated and says "ended as failed"
    And a person is called

  Scenario: The platform asks to come again later
    Given the platform takes no rollback before 2 seconds have passed
    When v2 is rolled back by hand
    Then the command ends as restored
    And the platform was asked for two rollbacks
