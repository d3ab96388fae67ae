@rollback @postgres
Feature: Migration rollback: the schema goes back whole or not at all, and nothing is lost
  Taking a migration back destroys what was written since. So it is kept first, and the
  rollback counts for nothing unless everything went as was planned.

  Scenario: Several migrations go back at once, and what they held comes back with them
    Given v3's three migrations are in production, with values in what they added
    When the schema is rolled back to v2's
    Then the command ends as restored
    And the schema is v2's again, with every value that v2 knows
    And every value that only v3 knows is in the archive
    When the migrations are applied again and the archive is put back
    Then the schema is v3's again, with every value

  Scenario: The plan says what would be destroyed, and changes nothing
    Given v3's three migrations are in production, with values in what they added
    When the plan of a rollback to v2's schema is asked for
    Then it names the three migrations, newest first, and the values that each destroys
    And nothing was changed

  Scenario Outline: A script that cannot be relied on is refused
    Given the script that takes 005 back <flaw>
    And v3's three migrations are in production, with values in what they added
    When the schema is rolled back to v2's
    Then the command refuses it and says "<said>"
    And nothing was changed

    Examples:
      | flaw                             | said                                                                                            |
      | is missing                       | cannot be run: rollback_005.sql is missing.                                                     |
      | ends the transaction by itself   | rollback_005.sql:2 holds COMMIT: the transaction is the rollback's own.                         |
      | fails on the rows that are there | The script rollback_005.sql failed: check constraint                                            |
      | leaves an index behind           | the schema is not what was recorded at 003: + index public.suppliers_by_accident: CREATE INDEX  |

  Scenario: A rehearsal finds on the backup what only the rows can show
    Given the script that takes 005 back fails on the rows that are there
    And v3's three migrations are in production, with values in what they added
    When the schema is rolled back to v2's, and rehearsed before
    Then the command refuses it and says "The rehearsal failed, and production is untouched: The script rollback_005.sql failed"
    And nothing was changed

  Scenario: What cannot go back any more is named, and stays in the archive
    Given v3's three migrations are in production, with values in what they added
    When the schema is rolled back to v2's
    And the form of one couple is deleted
    And the migrations are applied again and the archive is put back
    Then the form is left with its reason, its couple is still archived, all else is back

  Scenario: A script that is not the one that was deployed is refused
    Given v3's three migrations are in production, with values in what they added
    And the script that takes 005 back was changed since
    When the schema is rolled back to v2's
    Then the command refuses it and says "not those that were recorded when their versions were deployed: rollback_005.sql."
    And nothing was changed

  Scenario: Whoever stands in the way is named, and nobody waits for long
    Given v3's three migrations are in production, with values in what they added
    And a nightly report is reading the orders
    When the schema is rolled back to v2's
    Then the command refuses it and says "(nightly-report, idle in transaction) has held one for"
    And nothing was changed

  Scenario: Nothing that is written during the rollback is lost
    Given v3's three migrations are in production, with values in what they added
    And couples go on sending forms to v3
    When the schema is rolled back to v2's
    Then the command ends as restored
    And couples sent forms after the backup was taken
    And every form that was accepted is there, with its couple in the archive

  Scenario: A rollback that is cut off in the middle has changed nothing, and can be run again
    Given the script that takes 005 back waits in the middle
    And v3's three migrations are in production, with values in what they added
    When the schema is rolled back to v2's, and its connection is cut in the middle
    Then the command ends as escalated, and so does its incident
    And nothing was changed
    When the schema is rolled back to v2's
    Then the command ends as restored
    And the schema is v2's again, with every value that v2 knows
    And every value that only v3 knows is in the archive

  Scenario: Two who roll back at once do it once
    Given v3's three migrations are in production, with values in what they added
    And a backup takes until it is told to end
    When the schema is rolled back to v2's in another terminal
    And the schema is rolled back to v2's
    Then the command refuses it and names the incident of the other terminal
    When the backup is told to end
    Then the command ends as restored
    And that incident is the only one, and has the only receipt
    And the schema is v2's again, with every value that v2 knows
    And every value that only v3 knows is in the archive

  Scenario: A schema that is there already is left alone
    When the schema is rolled back to v2's
    Then the command ends with nothing to do
    And no backup was taken

  Scenario: A schema that the old release cannot run on goes back before the application
    Given v2 is the stable release
    And v3 went live with migrations that v2 cannot run on
    And a couple and a supplier were served by v3
    When v3 is rolled back by hand
    Then the command ends as restored
    And the schema went back before the traffic did
    And every production host serves v2
    When v3 is deployed again and the archive is put back
    Then v3 shows the couple and the tax as before

  Scenario: A schema that the old release can run on stays
    Given v1 is the stable release
    And v2 went live with a migration that v1 can run on
    When v2 is rolled back by hand
    Then the command ends as restored
    And every production host serves v1
    And nothing was changed in the schema

  @drill @chaos @stripe @slow
  Scenario: A bad release goes back together with its schema
    Given visitors come to the site
    And v2 is the stable release
    And v3 went live with migrations that v2 cannot run on
    And the site is in its steady state
    And the gate is watching v3
    When Stripe no longer answers v3
    Then the fault is seen to bite
    And the gate rolls v3 back by the row "critical_error" because of STRIPE_WEBHOOK_FAILED
    And v2 serves the site again, healthy from outside
    And visitors are served again at 20 requests a second
    And the critical flows pass on the site
    And every phase kept its time budget
    And the incident is on record and #incidents was told
    And the schema went back before the traffic did
    And all that v3 kept for visitors is in the archive
    And after healing v3 answers as before
