"""The questions in PromQL, and how names are put into them.

The standard questions take a counter's last sample in the bucket and the last one
before it, series by series, and add up the differences. Unlike `increase()` this needs
one scrape in a bucket and not two, guesses nothing beyond the samples, and counts the
first requests of a series that has just appeared, which `increase()` leaves out (the
first 500 of a release is such a series). A counter that fell was restarted: what it
shows is what came since. The differences of all buckets add up to what was counted.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields

from rollback.errors import SettingsInvalid

__all__ = ["Queries", "filled", "seconds"]

WORD = re.compile(r"\{\{\s*(\w+)\s*\}\}")
OWN = frozenset({"deployment", "git_sha"})
KNOWN = OWN | {"step", "le"}
PLAIN = re.compile(r"[A-Za-z0-9_.:-]")
BEFORE = "10m"  # how far back the last sample before the bucket is looked for


def _grown(series: str) -> str:
    last = f"last_over_time({series}[{{{{step}}}}s])"
    before = f"last_over_time({series}[{BEFORE}] offset {{{{step}}}}s)"
    return f"sum({last} - {before} >= 0 or {last})"


def _requests(labels: str = "") -> str:
    return _grown(f'http_requests_total{{deployment="{{{{deployment}}}}"{labels}}}')


def _timed(kind: str, labels: str = "") -> str:
    name = f"http_request_duration_seconds_{kind}"
    return _grown(f'{name}{{deployment="{{{{deployment}}}}"{labels}}}')


@dataclass(frozen=True, slots=True, kw_only=True)
class Queries:
    """What is asked for a bucket: requests, and how many of them failed and were slow.

    Each must answer with one series wherever there are requests. No answer is not
    taken for zero, as a metric or a label that is called otherwise gives none either:
    the standard one for failed requests says 0 only where the label `code` is known.
    """

    requests: str = _requests()
    failed: str = _requests(',code=~"5.."') + " or 0 * " + _requests(',code=~".+"')
    slow: str = _timed("count") + " - " + _timed("bucket", ',le=~"{{le}}"')

    def __post_init__(self) -> None:
        """Refuse what cannot be filled, or would count other deployments too."""
        for field in fields(self):
            words = set(WORD.findall(getattr(self, field.name)))
            if unknown := sorted(words - KNOWN):
                raise SettingsInvalid(
                    f"The Prometheus query for {field.name} has an unknown word, "
                    f"{{{{{unknown[0]}}}}}.",
                    mend="There are " + ", ".join(sorted(KNOWN)) + ".",
                )
            if not words & OWN:
                raise SettingsInvalid(
                    f"The Prometheus query for {field.name} does not say of which "
                    "deployment: other deployments' requests would count.",
                    mend='Select by a label, as in deployment="{{deployment}}" or '
                    'release="{{git_sha}}".',
                )

    def need(self, word: str) -> bool:
        """Whether a query has this word."""
        return any(word in WORD.findall(getattr(self, f.name)) for f in fields(self))


def filled(query: str, words: Mapping[str, str]) -> str:
    """The query with its words replaced."""
    return WORD.sub(lambda found: words[found[1]], query)


def quoted(text: str) -> str:
    """A name as it stands between quotes in PromQL, whose escapes are those of Go."""
    return "".join(c if PLAIN.fullmatch(c) else f"\\U{ord(c):08x}" for c in text)


def seconds(milliseconds: float) -> str:
    """A bucket's bound, for `le=~"…"`: since Prometheus 3 a whole one ends in `.0`."""
    number = f"{milliseconds / 1000:.6f}".rstrip("0").rstrip(".").replace(".", "\\\\.")
    return number if "." in number else f"{number}(\\\\.0)?"
