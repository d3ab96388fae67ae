Feature: Version tracking: what was deployed, and what can be gone back to
  A rollback is as good as what is known about the releases before. What was live, with
  which commit, schema, environment and health, is on record; each of the last ten is
  looked up on the platform; and a database that is down does not end it.

  Scenario: A project is adopted as it is
    Given nothing was ever recorded
    When the project is adopted at migration "003"
    Then v2 is recorded as passing, with migration "003"
    And the settings and the gate's workflow are written, without a secret
    And the doctor finds nothing wrong
    When the project is adopted at migration "003"
    Then nothing was changed by it

  Scenario: What is live and ill is adopted, and is no stable release
    Given nothing was ever recorded
    And v2 fails its health check
    When the project is adopted at migration "003"
    Then it is said that v2 does not pass
    And v2 is recorded as failing, with migration "003"

  Scenario: What changed in the environment is told by name
    Given v1 went out with the environment
      | name         | value                     |
      | DATABASE_URL | postgresql://me:hush@db/1 |
      | OLD_SWITCH   | on                        |
      | SITE         | WedSync                   |
    And v2 went out with the environment
      | name         | value                     |
      | DATABASE_URL | postgresql://me:hush@db/2 |
      | NEW_SWITCH   | on                        |
      | SITE         | WedSync                   |
    When somebody asks what changed from v1 to v2
    Then "NEW_SWITCH" was added, "OLD_SWITCH" removed and "DATABASE_URL" changed
    And "hush" stands nowhere in the ledger

  Scenario: What nobody can read is recorded by name
    Given v1 is the stable release
    And v2 has just gone live
    When somebody asks what changed from v1 to v2
    Then whether "DATABASE_URL" changed is unknown
    And "SENTRY_ENVIRONMENT" did not change

  Scenario: What the platform has deleted is not gone back to
    Given v1 is the stable release
    And v2 has just gone live
    When the platform deletes v1
    Then the history says that v1 is gone
    And there is nothing to go back to

  Scenario: A release that is about to be deleted is warned of
    Given v1 is the stable release
    And the platform keeps production for 1 day, and nothing longer
    When somebody looks at the history
    Then it warns that v1 is about to go
    And the doctor warns of retention
    When retention is agreed to while the project is adopted
    Then the platform keeps production for 90 days

  Scenario: The ledger's database is the one that is down
    Given v1 is the stable release
    And v2 has just gone live
    And the ledger cannot be reached
    When what is live is rolled back by hand
    Then v1 is live, and the rollback says that the platform named it
    And what happened waits on the disk
    When the ledger is back and somebody asks for the incidents
    Then the rollback is on record, whole, and nothing waits
