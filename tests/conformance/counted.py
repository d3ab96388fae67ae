"""Cases passed of cases run, for each client or server that takes part."""

from collections import Counter, defaultdict

import pytest

KEY = "conformance"


def count(request: pytest.FixtureRequest, suite: str) -> None:
    """Let a test count as a case of a suite."""
    request.node.user_properties.append((KEY, suite))


def table(reports: list[pytest.TestReport]) -> list[str]:
    """A line for each suite: cases passed of cases run."""
    outcomes: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for report in reports:
        if report.when == "call":
            for key, suite in report.user_properties:
                if key == KEY:
                    outcomes[str(suite)][report.outcome] += 1
    width = max(map(len, outcomes), default=0)
    return [
        f"{suite:{width}}  {each['passed']:3} of {each.total():3} cases passed"
        for suite, each in sorted(outcomes.items())
    ]
