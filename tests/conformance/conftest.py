"""Says at the end of a run how many cases passed with whom."""

import pytest

from tests.conformance.counted import table


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line for each client or server."""
    stats = terminalreporter.stats
    reports = [
        each
        for outcome in ("passed", "failed")
        for each in stats.get(outcome, [])
        if isinstance(each, pytest.TestReport)
    ]
    if lines := table(reports):
        terminalreporter.section("conformance")
        for line in lines:
            terminalreporter.write_line(line)
