@drill @gate
Feature: Gate: a good release passes
  A pipeline asks the gate after every deploy. A good release must pass: a gate that
  cries wolf is switched off within a week.

  Scenario: A healthy release passes the gate
    Given visitors come to the site
    And v1 is the stable release
    And v2 has just gone live
    And the site is in its steady state
    When the gate watches v2 for 12 seconds
    Then the gate says healthy
    And v2 is still live
    And v2 is recorded as passing
