@drill @rollback @chaos
Feature: Rollback: a bad release is noticed, undone and reported
  Only the new release is hurt, as by a bad change of its own: the release before it
  still works, so going back restores the site.

  Background:
    Given visitors come to the site
    And v1 is the stable release
    And v2 has just gone live
    And the site is in its steady state
    And the gate is watching v2

  @postgres
  Scenario: Slow responses are rolled back
    When the database answers v2 1100 ms late
    Then the fault is seen to bite
    And the gate rolls v2 back by the row "evidence" for the response time
    And v1 serves the site again, healthy from outside
    And visitors are served again at 20 requests a second
    And the critical flows pass on the site
    And every phase kept its time budget
    And the incident is on record and #incidents was told
    And after healing v2 answers as before

  @postgres
  Scenario: Database loss is rolled back
    When v2 loses its database
    Then the fault is seen to bite
    And the gate rolls v2 back by the row "critical_error" because of DATABASE_CONNECTION_LOST
    And v1 serves the site again, healthy from outside
    And visitors are served again at 20 requests a second
    And the critical flows pass on the site
    And every phase kept its time budget
    And the incident is on record and #incidents was told
    And after healing v2 answers as before

  @stripe
  Scenario: A Stripe outage is rolled back
    When Stripe no longer answers v2
    Then the fault is seen to bite
    And the gate rolls v2 back by the row "critical_error" because of STRIPE_WEBHOOK_FAILED
    And v1 serves the site again, healthy from outside
    And visitors are served again at 20 requests a second
    And the critical flows pass on the site
    And every phase kept its time budget
    And the incident is on record and #incidents was told
    And after healing v2 answers as before
