@rollback @redis @edge
Feature: Feature flags: one feature is switched off, and back, without a deployment
  What is shown to visitors is what counts: the flag is one half of it, and the answers
  that the edge has kept are the other.

  Background:
    Given v2 serves the site, with the feature timeline on
    And the edge keeps the answer that timeline is on

  Scenario: A feature is switched off for visitors who are looking at it
    When timeline is switched off
    Then the command ends as done
    And visitors are shown no timeline, from the next request on
    And its flag is "disabled", and "enabled" is saved
    And the incident of timeline is on record as restored, and was told to #incidents

  Scenario: The answers that the edge kept are gone in every form
    Given the edge keeps it in another encoding and with a query as well
    When timeline is switched off
    Then the command ends as done
    And the edge keeps nowhere that timeline is on

  Scenario Outline: What a flag held comes back to the byte: <kind>
    Given the flag of timeline holds <kind>
    When timeline is switched off
    And timeline is put back
    Then the command ends as done
    And the flag of timeline holds <kind>
    And the edge answers as the app does
    And no other key of Redis has changed

    Examples:
      | kind                |
      | a word              |
      | nothing at all      |
      | JSON                |
      | letters and zeros   |
      | a million letters   |

  Scenario: An unknown feature is an error, and no new flag
    When seating is switched off
    Then the command ends with 2 and says "There is no flag seating"
    And nothing was changed, and nobody was told

  Scenario: Nothing to put back is an error
    When timeline is put back
    Then the command ends with 2 and says "No state is saved for timeline"
    And nothing was changed, and nobody was told

  Scenario: A state that was set meanwhile is not written over
    Given timeline is switched off
    And somebody sets the flag of timeline to "beta"
    When timeline is put back
    Then the command ends with 4 and says "another state"
    And the flag of timeline is "beta"

  Scenario: Switching off twice keeps what was saved first
    Given timeline is switched off
    When timeline is switched off
    Then the command ends as done
    And its flag is "disabled", and "enabled" is saved

  Scenario Outline: A purge that fails is asked again: <status>
    Given the platform answers the next <times> purges with <status>
    When timeline is switched off
    Then the command ends as done
    And the purge was asked for with the answers <answers>
    And visitors are shown no timeline, from the next request on

    Examples:
      | status | times | answers            |
      | 500    | 3     | 500, 500, 500, 200 |
      | 429    | 1     | 429, 200           |

  Scenario: A platform that does not purge leaves the flag off, and a person is called
    Given the platform purges nothing
    When timeline is switched off
    Then the command ends as not restored and names the purge
    And its flag is "disabled", and "enabled" is saved
    And the incident of timeline is on record as escalated, and was told to #incidents
    And when the platform purges again, doing it again ends as done
    And visitors are shown no timeline, from the next request on

  Scenario: A platform that refuses to purge is not asked twice
    Given the platform refuses the purge
    When timeline is switched off
    Then the command ends as not restored and names the purge
    And the purge was asked for with the answers 403
    And its flag is "disabled", and "enabled" is saved

  Scenario: A Redis that is down is told, and nothing is claimed
    Given the flags can no longer be reached
    When timeline is switched off
    Then the command ends with 2 and says "cannot be used for the flags"
    And nothing was changed, and nobody was told

  Scenario: A ledger that is down does not keep a feature on
    Given the ledger can no longer be reached
    When timeline is switched off
    Then the command ends as done
    And visitors are shown no timeline, from the next request on
    And its flag is "disabled", and "enabled" is saved

  Scenario: Nothing is switched without a word of consent
    When timeline would be switched off without --yes
    Then the command ends with 2 and says "was not confirmed"
    And nothing was changed, and nobody was told

  Scenario: A plan changes nothing
    When the plan for switching timeline off is shown
    Then the command ends as done
    And nothing was changed, and nobody was told
