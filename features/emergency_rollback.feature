@rollback
Feature: Emergency rollback: one command at 3 a.m.
  Somebody who was woken up says why, and what is live is undone. Nothing happens by
  mistake.

  Background:
    Given v1 is known to be good and v2 is live

  Scenario: The plan shows what would be done, and does nothing
    When the plan of a rollback is asked for
    Then it names v2, v1 and every production host
    And nothing was asked of the platform

  Scenario: Without a confirmation nothing is done
    When a rollback is asked for without --yes and without a terminal
    Then the command ends with exit code 2 and says "--yes"
    And nothing was asked of the platform

  Scenario: Both deployments can be named
    When a rollback from v2 to v1 is asked for
    Then the command ends as restored
    And every production host serves v1
    And the reason stands with the rollback on the platform
    When a rollback from v2 to v1 is asked for
    Then the command ends with nothing to do
    And the platform was asked for one rollback

  Scenario: A deployment of another project is no target
    Given v1 turns out to be of another project
    When a rollback from v2 to v1 is asked for
    Then the command ends with exit code 2 and says "not known on the platform"
    And nothing was asked of the platform

  Scenario: Without the bypass secret nobody looks at the target
    Given the bypass secret is not set
    When a rollback from v2 to v1 is asked for
    Then the command ends with exit code 2 and says "VERCEL_AUTOMATION_BYPASS_SECRET"
    And nothing was asked of the platform
