@rollback @postgres @redis
Feature: State recovery: what a bad release has left behind is put right, and nothing is lost
  A deployment that is rolled back leaves its data and its caches behind. What is there
  now is backed up before anything else, and what replaces it never destroys it.

  Background:
    Given v1 is known to be good and v2 is live
    And the caches hold pages of v2, beside flags, sessions and a queue

  Scenario: Production recovers without its database being touched
    Given two suppliers have signed up
    When the state is recovered
    Then the command ends as restored
    And every production host serves v1
    And a verified backup of now is named by the incident
    And the two suppliers are there

  Scenario: Flags, sessions and queues survive the emptying of caches
    When the state is recovered
    Then the command ends as restored
    And no page of v2 is in the caches any more
    And flags, sessions and the queue are as they were
    And the edge was asked to forget what it kept of timeline

  Scenario: A prefix that would take flags along is refused
    Given the prefix "feature_" is named as a cache
    When the state is recovered
    Then the command ends with exit code 2 and says "is no cache"
    And nothing of the state was touched

  Scenario Outline: Damage done after the backup is undone, <how>
    Given two suppliers have signed up
    And the database was backed up, and v2 went live after that
    And v2 has deleted every supplier, and one more has signed up since
    When the state is recovered with the database, <how>
    Then the command ends as restored
    And the two suppliers are there
    And it was told beforehand which rows would not be there any more
    And what was there before is kept, and named: <where>

    Examples:
      | how      | where    |
      | in place | schema   |
      | by swap  | database |

  Scenario: The backup that a rollback has taken of the damage is not what comes back
    Given two suppliers have signed up
    And the database was backed up, and v2 went live after that
    And v2 has deleted every supplier, and one more has signed up since
    And v2 was rolled back by hand
    When the state is recovered with the database, in place
    Then the command ends as restored
    And the two suppliers are there
    And it is told that the backup is from before v2 went live

  Scenario: Where no bad release is known, nobody guesses which backup is good
    Given two suppliers have signed up
    And the database was backed up, and v2 went live after that
    And v2 is on record as passing
    When the state is recovered with the database, in place
    Then the command ends with exit code 2 and says "Name one of a time when all was well with --backup"
    And nothing of the state was touched

  Scenario: A damaged backup is refused before anything is touched
    Given two suppliers have signed up
    And the database was backed up, and v2 went live after that
    And a bit of that backup has turned
    When the state is recovered with the database, in place
    Then the command ends with exit code 4 and says "The backup is damaged"
    And nothing of the state was touched
    And the two suppliers are there

  Scenario: Killed once the rows are back, and run again: they are not put back twice
    Given two suppliers have signed up
    And the database was backed up, and v2 went live after that
    And v2 has deleted every supplier, and one more has signed up since
    And the state is being recovered with the database, and killed once the rows are back
    And one more supplier signs up
    When the state is recovered with the database, in place
    Then the command ends as restored
    And every production host serves v1
    And the two suppliers are there, and the one who came after the kill
    And no page of v2 is in the caches any more
    And the restore was done already when it was run again

  Scenario: With the database down nothing is restored over it, and the rest goes on
    Given two suppliers have signed up
    And the database was backed up, and v2 went live after that
    And the database can no longer be reached by the command
    When the state is recovered with the database, in place
    Then the command ends as escalated and says "nothing is restored over it"
    And every production host serves v1
    And no page of v2 is in the caches any more
    And the two suppliers are there

  Scenario: Functions are built and started anew where that is asked
    When the state is recovered with a new build
    Then the command ends as restored
    And production is served by a new build of v1, which is on record as passing

  Scenario: A plan explains every step and changes nothing
    Given two suppliers have signed up
    And the database was backed up, and v2 went live after that
    When the plan of a recovery with the database is shown
    Then every step is explained in words
    And nothing of the state was touched

  Scenario: Nothing is recovered without a word of consent
    When the state would be recovered without --yes
    Then the command ends with exit code 2 and says "was not confirmed"
    And nothing of the state was touched
