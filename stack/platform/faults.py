"""What goes wrong at the platform on request: one small table.

| key | value | effect |
|---|---|---|
| name of an endpoint | ``{"status", "times"?, "message"?, "retry_after"?}`` | that \
answer instead of the real one, once or ``times`` times; nothing is changed |
| ``lose_reply`` | true or a number | a rollback or promote is accepted, and the \
connection is dropped in place of the answer, once or so many times |
| ``hang`` | true | jobs requested from now on stay in progress and move nothing |
| ``job_status`` | ``failed`` or ``skipped`` | how jobs requested from now on end |
| ``failed_domains`` | list of hosts | the ones that a failing job leaves behind \
(else all of them) |
| ``lose_request`` | true or a number | the connection is dropped before a rollback or \
promote is taken: nothing is changed, once or so many times |
| ``older_job`` | ``{"type", "to", "status", "age_seconds"}`` | what somebody else \
asked for before is the last alias request, until there is a newer one |
| ``rolling`` | ``{"canary", "percentage"}`` | that deployment is rolled out \
in stages: so many of a hundred visits see it; a rollback ends it, a promotion waits |
| ``foreign`` | list of deployments | they are of another project: shown, and not \
found by what would move this one |
| ``hobby`` | true | the plan that rolls back to the previous deployment only |
| ``build_fails`` | true | what is built again ends as an error |

``null`` takes a key out.
"""

from collections.abc import Iterable
from typing import Any

from stack.platform.errors import ApiError

SWITCHES = (
    *("lose_reply", "lose_request", "hang", "job_status", "failed_domains"),
    *("older_job", "rolling", "foreign", "hobby", "build_fails"),
)
SHAPES = {
    "older_job": {"type", "to", "status", "age_seconds"},
    "rolling": {"canary", "percentage"},
}


class Faults:
    """The faults in force."""

    def __init__(self) -> None:
        self.table: dict[str, Any] = {}

    def merge(self, wanted: dict[str, Any], endpoints: Iterable[str]) -> None:
        """Put these in force beside the others.

        Raises:
            ApiError: 400, a key means nothing: it would be a fault that never bites.

        """
        unknown = wanted.keys() - set(SWITCHES) - set(endpoints)
        if unknown:
            raise ApiError(400, f"No such fault: {', '.join(sorted(unknown))}")
        for key in wanted.keys() - set(SWITCHES):
            if wanted[key] is not None and "status" not in wanted[key]:
                raise ApiError(400, f"The fault of `{key}` needs a `status`")
        for key, shape in SHAPES.items():
            if wanted.get(key) is not None and wanted[key].keys() != shape:
                raise ApiError(400, f"The fault `{key}` has {', '.join(sorted(shape))}")
        merged = self.table | wanted
        self.table = {key: value for key, value in merged.items() if value is not None}

    def refuse(self, endpoint: str) -> None:
        """Raise the error that this endpoint shall answer next, if there is one."""
        fault = self.table.get(endpoint)
        if fault is None:
            return
        self._use_up(endpoint, fault)
        wait = fault.get("retry_after")
        raise ApiError(
            fault["status"],
            fault.get("message", "An unexpected internal error occurred"),
            headers=None if wait is None else {"Retry-After": str(wait)},
        )

    def loses_reply(self) -> bool:
        """Say whether the answer of this accepted job shall not arrive."""
        return self._count_down("lose_reply")

    def loses_request(self) -> bool:
        """Say whether this request shall get lost before it is taken."""
        return self._count_down("lose_request")

    def _count_down(self, key: str) -> bool:
        left = int(self.table.get(key, 0))
        if left > 0:
            self.table[key] = left - 1
        return left > 0

    def _use_up(self, endpoint: str, fault: dict[str, Any]) -> None:
        times = fault.get("times", 1)
        if times > 1:
            self.table[endpoint] = fault | {"times": times - 1}
        else:
            del self.table[endpoint]
