@rollback
Feature: Blue and green: the API goes back by itself, or together with the site
  The API is a project of its own. Blue and green are two of its deployments, and its
  alias moving is the switch. A header picks a colour for a tester, and moves nobody.

  Scenario: Each goes back alone
    Given v1 and blue are stable, and v2 and green have just gone live
    When the API is rolled back alone
    Then it is restored, by a step of the API alone
    And blue serves the API
    And v2 serves the site
    When the site is rolled back alone
    Then it is restored, by a step of the application alone
    And v1 serves the site
    And blue serves the API

  Scenario: Both go back in one rollback
    Given v1 and blue are stable, and v2 and green have just gone live
    Then the plan for both moves the application, then the API
    When the site and the API are rolled back together
    Then it is restored, by a step of the application and one of the API
    And v1 serves the site
    And blue serves the API
    And the rollback of the API is found by itself, too

  Scenario: What one part is refused does not hold the other
    Given v1 and blue are stable, and v2 and green have just gone live
    And the platform refuses to move the API
    When the site and the API are rolled back together
    Then it is escalated: the application is restored and the API is not
    And v1 serves the site
    And green serves the API

  Scenario: The last stable API is never a release of the site
    Given v1 is stable, and no API ever passed
    Then there is no stable API to go back to
    And the stable release of the site is v1
    And the API cannot be rolled back to v1

  Scenario: A header picks a colour and moves nobody
    When a tester asks the site for blue, with the bypass secret
    Then blue answers
    And v2 serves the site
    And green serves the API

  Scenario: A header opens nothing that is protected
    When somebody asks the site for blue, without the secret
    Then it is denied
    When somebody asks v1's own address for green, without the secret
    Then it is denied
    When somebody asks the site for green, without the secret
    Then green answers

  Scenario: An unknown colour is the site itself
    When somebody asks the site for purple, without the secret
    Then v2 answers
