@gate
Feature: Decision matrix: what the gate says, and by which row
  After a deploy the gate watches the new release, v2, for five minutes. Of the rows of
  the matrix the first one that fits decides:

  (1) critical_error: v2 itself reports a critical error; roll back at once
  (2) evidence: it is proved that v2 is over a limit; roll back early, at any traffic
  (3) threshold: v2 is over a limit among at least 1000 requests in five minutes; roll back
  (4) source_silent: something that measures is silent or down; inconclusive
  (5) healthy: five minutes were seen, and v2 is within every limit; healthy
  (6) watching: none of these when the time is over; inconclusive

  At most 5 % of requests may fail, at most 5 % may take more than 3000 ms, and at least
  99 % of probes must be answered. The release before v2, v1, is healthy where nothing
  else is said. The engine is the real one; its clock is simulated, and jumps.

  # -- limits: what is just under, at, and just over them

  Scenario Outline: At a limit is not over it
    Given 6000 requests and 6000 probes come to v2 in 5 minutes
    And <bad> <outcome>
    When the gate watches v2 for 5 minutes
    Then the verdict is <verdict>, by the row "<row>"
    And the <signal> was counted as <bad> of 6000
    And <serving> production

    Examples: at most 5 % of requests fail
      | bad | outcome       | signal     | verdict   | row       | serving         |
      | 299 | requests fail | error rate | healthy   | healthy   | v2 still serves |
      | 300 | requests fail | error rate | healthy   | healthy   | v2 still serves |
      | 301 | requests fail | error rate | roll back | threshold | v1 again serves |

    Examples: at most 5 % of requests are slow
      | bad | outcome           | signal        | verdict   | row       | serving         |
      | 299 | requests are slow | response time | healthy   | healthy   | v2 still serves |
      | 300 | requests are slow | response time | healthy   | healthy   | v2 still serves |
      | 301 | requests are slow | response time | roll back | threshold | v1 again serves |

    Examples: at least 99 % of probes are answered
      | bad | outcome              | signal       | verdict   | row       | serving         |
      | 59  | probes go unanswered | availability | healthy   | healthy   | v2 still serves |
      | 60  | probes go unanswered | availability | healthy   | healthy   | v2 still serves |
      | 61  | probes go unanswered | availability | roll back | threshold | v1 again serves |

  Scenario Outline: Slow is what takes more than 3000 ms
    Given every page of v2 takes <ms> ms
    When the gate watches v2 for 5 minutes
    Then the verdict is <verdict>, by the row "<row>"
    And <serving> production

    Examples:
      | ms   | verdict   | row      | serving         |
      | 3000 | healthy   | healthy  | v2 still serves |
      | 3001 | roll back | evidence | v1 again serves |

  Scenario Outline: A share of fewer than a thousand requests means too little
    Given <requests> requests and 1000 probes come to v2 in 5 minutes
    And 60 requests fail
    When the gate watches v2 for 5 minutes
    Then the verdict is <verdict>, by the row "<row>"
    And the error rate was counted as 60 of <requests>
    And the reason names "60 of <requests> requests failed"
    And <serving> production

    Examples:
      | requests | verdict      | row       | serving         |
      | 999      | inconclusive | watching  | v2 still serves |
      | 1000     | roll back    | threshold | v1 again serves |

  # -- good releases

  Scenario: A perfect release passes in five minutes
    Given 10 requests and 2 probes a second come to v2
    When the gate watches v2 for 5 minutes
    Then the verdict is healthy, by the row "healthy"
    And the error rate was counted as 0 of 3000
    And the response time was counted as 0 of 3000
    And the availability was counted as 0 of 600
    And the verdict came after exactly 5 minutes
    And v2 still serves production
    And from now on v2 is one to go back to
    And nobody was disturbed

  Scenario Outline: Failures that come in bursts make no healthy release bad
    Given v2 is healthy, and its few failures come in bursts, by seed <seed>
    When the gate watches v2 for 5 minutes
    Then the verdict is healthy, by the row "healthy"
    And v2 still serves production

    Examples:
      | seed |
      | 1    |
      | 2    |
      | 3    |
      | 4    |

  Scenario: An outage of three seconds is over before anybody could help
    Given 10 requests and 4 probes a second come to v2
    And v2 is down for 3 seconds after 7 minutes
    When v2 is watched for 12 minutes
    Then the verdict is healthy, by the row "healthy"
    And the error rate was counted as 30 of 3000
    And v2 still serves production

  # -- bad releases

  Scenario Outline: An outage is noticed within seconds at any traffic
    Given <requests> requests and <probes> probes a second come to v2
    And v2 is down from minute <minute> on
    When v2 is watched for 30 minutes
    Then the verdict is roll back, by the row "<row>"
    And the verdict came within <seconds> seconds of minute <minute>
    And the verdict names a signal with its counts
    And v1 again serves production

    Examples:
      | requests | probes | minute | seconds | row       |
      | 1        | 1      | 0      | 6       | evidence  |
      | 1000     | 4      | 0      | 6       | evidence  |
      | 1        | 1      | 20     | 10      | evidence  |

  Scenario Outline: Of several bad signals the clearest one is named
    Given 10 requests and 10 probes a second come to v2
    And of every 10 requests <failed> fail and <slow> are slow
    And of every 10 probes <unanswered> go unanswered
    When the gate watches v2 for 5 minutes
    Then the verdict is roll back, by the row "evidence"
    And the verdict names the <signal> with its counts
    And v1 again serves production

    Examples:
      | failed | slow | unanswered | signal        |
      | 5      | 2    | 0          | error rate    |
      | 2      | 5    | 0          | response time |
      | 1      | 1    | 5          | availability  |

  Scenario: Users who fail are not outnumbered by probes that do not
    Given 90 requests and 10 probes a second come to v2
    And Redis counts 10 requests of users a second, of which 3 fail
    When the gate watches v2 for 5 minutes
    Then the verdict is roll back, by the row "evidence"
    And the verdict names the error rate with its counts
    And the reason names "by redis"
    And v1 again serves production

  # -- critical errors

  Scenario Outline: A critical error is enough
    Given 10 requests and 2 probes a second come to v2
    And v2 reports a <code> to Sentry after 60 seconds
    When the gate watches v2 for 5 minutes
    Then the verdict is roll back, by the row "critical_error"
    And the reason names "<code> (1x)"
    And the verdict came within 5 seconds of minute 1
    And v1 again serves production

    Examples:
      | code                     |
      | STRIPE_WEBHOOK_FAILED    |
      | DATABASE_CONNECTION_LOST |
      | AUTH_SERVICE_DOWN        |

  Scenario Outline: A critical error that is not this release's does not count
    Given 10 requests and 2 probes a second come to v2
    And Sentry holds 3 <code> <origin>
    When the gate watches v2 for 5 minutes
    Then the verdict is healthy, by the row "healthy"
    And no critical error was counted
    And v2 still serves production

    Examples:
      | code                     | origin                       |
      | DATABASE_CONNECTION_LOST | of another release           |
      | DATABASE_CONNECTION_LOST | of v2 from before its deploy |
      | DATABASE_CONNECTION_LOST | of v2 in staging             |
      | CARD_DECLINED            | of v2                        |

  Scenario Outline: A critical error that the stable release has as often is nobody's
    Given 10 requests and 2 probes a second come to v2
    And Sentry holds <stable> AUTH_SERVICE_DOWN of v1
    And Sentry holds <candidate> AUTH_SERVICE_DOWN of v2
    When the gate watches v2 for 5 minutes
    Then the verdict is <verdict>, by the row "<row>"
    And <serving> production

    Examples:
      | stable | candidate | verdict   | row            | serving         |
      | 4      | 3         | healthy   | healthy        | v2 still serves |
      | 3      | 3         | healthy   | healthy        | v2 still serves |
      | 2      | 3         | roll back | critical_error | v1 again serves |

  @stripe
  Scenario: A webhook that Stripe did not sign triggers nothing
    Given v2 has just gone live
    When somebody sends v2 webhooks with a wrong signature
    And the check command looks at v2
    Then v2 refused the webhooks with 400
    And the check command saw no critical error, though it asked
    And v2 is still live

  # -- what is not known

  Scenario Outline: Too little traffic proves nothing
    Given <requests> requests and <probes> probes come to v2 in 5 minutes
    When the gate watches v2 for 5 minutes
    Then the verdict is inconclusive, by the row "watching"
    And the reason names "<missing>"
    And v2 still serves production
    And v2 is not one to go back to

    Examples:
      | requests | probes | missing                                                    |
      | 99       | 600    | error rate has 99 requests, 100 are needed                 |
      | 600      | 99     | availability has 99 requests, 100 are needed               |
      | 240      | 240    | only 80% of 300 seconds hold a measurement, 90% are needed |

  Scenario: A suspicion at the end is no pass
    Given 10 requests and 2 probes a second come to v2
    And every request fails from second 293 on
    When the gate watches v2 for 5 minutes
    Then the verdict is inconclusive, by the row "watching"
    And the error rate was counted as 70 of 3000
    And the reason names "suspicious and not yet proved"
    And v2 still serves production
    And v2 is not one to go back to

  Scenario Outline: Silence is no health
    Given 10 requests and 2 probes a second come to v2
    And nothing is measured from second <begin> to second <end>
    When the gate watches v2 for 5 minutes
    Then the verdict is <verdict>, by the row "<row>"
    And the reason names "<reason>"
    And v2 still serves production

    Examples:
      | begin | end | verdict      | row           | reason                           |
      | 0     | 300 | inconclusive | source_silent | probes has been silent for 300 s |
      | 100   | 129 | healthy      | healthy       | within its threshold over 300 s  |
      | 100   | 140 | inconclusive | source_silent | probes was silent for 41 s       |
      | 265   | 300 | inconclusive | source_silent | probes has been silent for 36 s  |

  Scenario Outline: A source that is down is no health either
    Given 10 requests and 2 probes a second come to v2
    And <source> is down from second <begin> to second <end>
    When the gate watches v2 for 5 minutes
    Then the verdict is <verdict>, by the row "<row>"
    And the reason names "<reason>"
    And v2 still serves production

    Examples:
      | source | begin | end | verdict      | row           | reason                          |
      | Redis  | 0     | 301 | inconclusive | source_silent | redis is down: connection lost  |
      | Redis  | 290   | 301 | inconclusive | source_silent | redis is down: connection lost  |
      | Redis  | 100   | 120 | healthy      | healthy       | within its threshold over 300 s |
      | Sentry | 0     | 301 | inconclusive | source_silent | sentry is down: connection lost |
      | Sentry | 100   | 120 | healthy      | healthy       | within its threshold over 300 s |
      | Sentry | 100   | 160 | inconclusive | source_silent | sentry was silent for           |

  # -- several things at once

  Scenario: A critical error counts though nothing else is measured
    Given 10 requests and 2 probes a second come to v2
    And nothing is measured from second 0 to second 300
    And v2 reports a DATABASE_CONNECTION_LOST to Sentry after 120 seconds
    When the gate watches v2 for 5 minutes
    Then the verdict is roll back, by the row "critical_error"
    And the reason names "DATABASE_CONNECTION_LOST (1x)"
    And v1 again serves production

  Scenario: What is proved bad is rolled back though a source is down
    Given 10 requests and 2 probes a second come to v2
    And Sentry is down from second 0 to second 300
    And Redis is down from second 0 to second 300
    And v2 is down from minute 1 on
    When the gate watches v2 for 5 minutes
    Then the verdict is roll back, by the row "evidence"
    And the verdict names a signal with its counts
    And v1 again serves production

  Scenario: A critical error speaks before the numbers do
    Given 1000 requests and 4 probes a second come to v2
    And v2 is down from minute 0 on
    And Sentry holds 1 DATABASE_CONNECTION_LOST of v2
    When the gate watches v2 for 5 minutes
    Then the verdict is roll back, by the row "critical_error"
    And the reason names "DATABASE_CONNECTION_LOST (1x)"
    And v1 again serves production

  # -- when going back would not help

  Scenario: Both releases have lost the database
    Given 10 requests and 2 probes a second come to v2
    And v2 is down from minute 1 on
    And v1 and v2 report their database as unhealthy
    When the gate watches v2 for 5 minutes
    Then the verdict is roll back, by the row "evidence"
    And the rollback is refused, because v1 "fails on database too"
    And v2 still serves production
    And people were told that a person is needed

  Scenario: Both releases answer with errors, and call themselves healthy
    Given 10 requests and 2 probes a second come to v2
    And of every 10 requests 5 fail and 0 are slow
    And of every 10 requests to v1 5 fail too
    When the gate watches v2 for 5 minutes
    Then the verdict is roll back, by the row "evidence"
    And the verdict names the error rate with its counts
    And the rollback is refused, because v1 "does as badly as the candidate"
    And v2 still serves production
    And people were told that a person is needed

  Scenario: What v1 has too does not excuse what is v2's own
    Given 10 requests and 2 probes a second come to v2
    And of every 10 requests 4 fail and 5 are slow
    And of every 10 requests to v1 4 fail too
    When the gate watches v2 for 5 minutes
    Then the verdict is roll back, by the row "evidence"
    And the verdict names the response time with its counts
    And v1 again serves production
