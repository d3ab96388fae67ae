@rollback
Feature: Application rollback: production goes back, and forward again
  Moving the traffic is asked of the platform once, and believed when visitors see it.

  Background:
    Given v1 is known to be good and v2 is live

  Scenario: What was rolled back can go forward again
    When v2 is rolled back by hand
    Then the command ends as restored
    And every production host serves v1
    And people are told that new builds wait, and of the way forward
    When the rollback is undone
    Then the command ends as restored
    And every production host serves v2
    And new builds go live by themselves again
    And the undoing is on record as an incident of its own

  Scenario: Nobody's release is rolled over by an undoing
    Given v2 was rolled back by hand
    And a release is being rolled out to 20 of 100 visitors
    When the rollback is undone
    Then the command refuses it because of the rolling release
    And nothing more was asked of the platform

  Scenario: A release that is rolled out in stages ends with the rollback
    Given v2 is only being rolled out, to 20 of 100 visitors
    When v2 is rolled back by hand
    Then the command ends as restored
    And no visitor sees v2 any more

  Scenario: An address that was pointed by hand is moved by hand
    Given "book.example.com" was pointed at v2 by hand
    When v2 is rolled back by hand
    Then the command ends as restored
    And "book.example.com" serves v1
