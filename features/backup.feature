@rollback @postgres
Feature: Backup: before every rollback, and in nobody's way
  A backup is begun before anything is changed. Neither the traffic nor a feature waits
  for it; but no schema is touched before it is whole and was read again.

  Scenario: Before the application alone goes back, which does not wait for it
    Given v1 is known to be good and v2 is live
    And a supplier has signed up
    And a backup takes until it is told to end
    When v2 is rolled back by hand in another terminal
    Then every production host serves v1 while the backup still goes on
    When the backup is told to end
    Then the command ends as restored
    And a backup was begun before the traffic moved, and is whole
    And the supplier is in the backup

  Scenario: Who does not wait for the backup has rolled back all the same
    Given v1 is known to be good and v2 is live
    And a backup takes until it is told to end
    When v2 is rolled back by hand in another terminal
    And Ctrl-C is pressed in the other terminal
    Then the command ends as restored
    And what was restored stays so, on record with a backup that was interrupted

  Scenario: Before a feature is switched off
    Given a supplier has signed up
    When the feature timeline is switched off by hand
    Then the command ends as done, with the feature off
    And the supplier is in the backup

  Scenario Outline: Without a backup the traffic moves all the same
    Given v1 is known to be good and v2 is live
    And <trouble>
    When v2 is rolled back by hand
    Then the command ends as restored
    And every production host serves v1
    And the attempt is on record, and that there is no backup because of "<reason>"

    Examples:
      | trouble                                           | reason            |
      | the disk for backups is full                      | no space left     |
      | nobody can reach the database to take a backup    | cannot be reached |

  Scenario Outline: Without a backup the schema stays as it is
    Given v3's three migrations are in production, with values in what they added
    And <trouble>
    When the schema is rolled back to v2's
    Then the command refuses it and says "<reason>"
    And nothing was changed

    Examples:
      | trouble                                         | reason                                                |
      | the disk for backups is full                    | There is no verified backup: There is no room for the |
      | a backup is damaged as soon as it is written    | The backup does not verify: the rows of public.       |
      | the only pg_dump at hand is one of version 15   | and pg_dump is 15.14 in                               |

  Scenario: A backup that was damaged since it was taken is found out
    Given a supplier has signed up
    And a backup was taken as a feature was switched off
    When a byte of the backup changes and it is looked at again
    Then the command refuses it and names the file that changed
