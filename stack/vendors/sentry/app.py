"""The HTTP face: events come in by envelope, and go out by query."""

import re
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from stack.serving import control
from stack.vendors.sentry import asked as ask
from stack.vendors.sentry import envelope, events, query, table, transactions

# Sentry writes an event through a queue: it is not found the moment it was sent. Some
# seconds in production; long enough here that nobody can lean on finding it at once.
INGEST_S = 0.5
# docs.sentry.io/api/ratelimits: 40 requests a second where nothing else is said.
RATE_LIMIT = 40
RATE_WINDOW_S = 1
CONCURRENT_LIMIT = 15
_FILTERS = {"query", "environment", "project", "statsPeriod", "start", "end"}
_DATASETS = {
    "errors": events.ERRORS,
    "transactions": transactions.fields(transactions.TRANSACTIONS),
    "spans": transactions.fields(transactions.SPANS),
}
_SHAPE = {"dataset", "field", "sort", "per_page", "cursor", "referrer"}

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """A port of 127.0.0.1, the DSN's parts, and the API's organization and token."""

    port: int
    public_key: str
    project_id: str
    org: str
    project: str
    auth_token: str


@dataclass(slots=True)
class _Window:
    """Counts requests in windows of a fixed length, as Sentry does."""

    number: int = 0
    used: int = 0

    def take(self) -> dict[str, str]:
        now = int(time.time() // RATE_WINDOW_S)
        if now != self.number:
            self.number, self.used = now, 0
        self.used += 1
        prefix = "X-Sentry-Rate-Limit"
        return {
            f"{prefix}-Limit": str(RATE_LIMIT),
            f"{prefix}-Remaining": str(max(0, RATE_LIMIT - self.used)),
            f"{prefix}-Reset": str((now + 1) * RATE_WINDOW_S),
            f"{prefix}-ConcurrentLimit": str(CONCURRENT_LIMIT),
            f"{prefix}-ConcurrentRemaining": str(CONCURRENT_LIMIT - 1),
        }

    @property
    def exceeded(self) -> bool:
        return self.used > RATE_LIMIT


@dataclass(slots=True)
class _Sentry:
    config: Config
    kept: dict[str, dict[str, events.Event]] = field(
        default_factory=lambda: {name: {} for name in _DATASETS}
    )
    ignored: Counter[str] = field(default_factory=Counter)
    window: _Window = field(default_factory=_Window)

    def state(self) -> Json:
        return {
            "events": [event.json() for event in self.kept["errors"].values()],
            "transactions": [
                event.json() for event in self.kept["transactions"].values()
            ],
            "ignored_items": dict(self.ignored),
        }

    def reset(self) -> None:
        for rows in self.kept.values():
            rows.clear()
        self.ignored.clear()
        self.window = _Window()

    async def ingest(self, request: Request) -> Response:
        """Take an envelope, as Sentry's Relay does."""
        self._require_dsn(request)
        encoding = request.headers.get("content-encoding", "")
        try:
            body = envelope.plain(await request.body(), encoding)
            taken = [self._take(*item) for item in envelope.items(body)]
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise HTTPException(400, f"invalid event envelope: {error}") from error
        return JSONResponse({"id": next(filter(None, taken), None)})

    def _take(self, kind: str, payload: bytes) -> str | None:
        now = datetime.now(UTC)
        if kind == "event":
            rows = {"errors": events.parse(payload, now)}
        elif kind == "transaction":
            rows = transactions.parse(payload, now)
        else:
            self.ignored[kind] += 1
            return None
        for dataset, row in rows.items():
            # One id is one event, however often an SDK sends it.
            self.kept[dataset].setdefault(row.event_id, row)
        return next(iter(rows.values())).event_id

    def _require_dsn(self, request: Request) -> None:
        header = request.headers.get("x-sentry-auth", "")
        match = re.search(r"sentry_key=([^,\s]+)", header)
        key = match[1] if match else request.query_params.get("sentry_key")
        if key is None:
            raise HTTPException(401, "missing authorization information")
        asked = (key, request.path_params["project"])
        if asked != (self.config.public_key, self.config.project_id):
            raise HTTPException(403, "event submission rejected with_reason: ProjectId")

    async def search(self, request: Request) -> Response:
        """Answer a query about the events of the organization."""
        self._require_token(request.headers.get("authorization", ""))
        limits = self.window.take()
        if self.window.exceeded:
            detail = (
                "You are attempting to use this endpoint too frequently. Limit is "
                f"{RATE_LIMIT} requests in {RATE_WINDOW_S} seconds"
            )
            raise HTTPException(429, detail, headers=limits)
        try:
            return self._answer(request, limits)
        except query.QueryError as error:
            raise HTTPException(400, str(error), headers=limits) from error

    def _answer(self, request: Request, headers: dict[str, str]) -> Response:
        asked = request.query_params
        self._check(asked, request.path_params["org"])
        dataset = asked.get("dataset", "errors")
        words = query.Vocabulary(tags=self._tags(dataset), fields=_DATASETS[dataset])
        chosen = table.columns(asked.getlist("field"), words)
        found = self._found(asked, words, dataset)
        rows = table.ordered(table.rows(chosen, found), chosen, asked.getlist("sort"))
        offset, size = ask.offset(asked), ask.page_size(asked)
        more = len(rows) > offset + size
        headers["Link"] = ask.link(request, offset, size, more=more)
        fields = {column.name: column.type for column in chosen}
        body = {
            "data": rows[offset : offset + size],
            "meta": {"fields": fields, "dataset": dataset},
        }
        return JSONResponse(body, headers=headers)

    def _found(
        self, asked: QueryParams, words: query.Vocabulary, dataset: str
    ) -> Iterable[events.Event]:
        wanted = query.predicate(asked.get("query", ""), words)
        environments = set(asked.getlist("environment"))
        start, end = ask.span(asked)
        arrived = datetime.now(UTC) - timedelta(seconds=INGEST_S)
        for event in self.kept[dataset].values():
            if (
                event.received_at <= arrived
                and start <= event.timestamp < end
                and (not environments or event.environment in environments)
                and wanted(event)
            ):
                yield event

    def _tags(self, dataset: str) -> set[str]:
        seen = {tag for event in self.kept[dataset].values() for tag in event.tags}
        # What every server's SDK sets counts as known before the first request.
        return seen | {transactions.CODE} if dataset == "transactions" else seen

    def _check(self, asked: QueryParams, org: str) -> None:
        if org != self.config.org:
            raise HTTPException(404, "The requested resource does not exist")
        if unknown := set(asked) - _FILTERS - _SHAPE:
            raise query.QueryError(f"Not known here: {', '.join(sorted(unknown))}")
        if (dataset := asked.get("dataset", "errors")) not in _DATASETS:
            known = ", ".join(_DATASETS)
            raise query.QueryError(f"dataset must be one of: {known} (not {dataset})")
        projects = {self.config.project, self.config.project_id, "-1"}
        if not projects.issuperset(asked.getlist("project")):
            raise HTTPException(
                403, "You do not have permission to perform this action."
            )

    def _require_token(self, header: str) -> None:
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise HTTPException(401, "Authentication credentials were not provided.")
        if token != self.config.auth_token:
            raise HTTPException(401, "Invalid token")


def create_app(config: Config) -> Starlette:
    """Give the stand-in, with no event yet."""
    sentry = _Sentry(config)
    return Starlette(
        routes=[
            *control(sentry.state, sentry.reset),
            Route("/api/{project}/envelope/", sentry.ingest, methods=["POST"]),
            Route("/api/0/organizations/{org}/events/", sentry.search),
        ],
        exception_handlers={HTTPException: _refuse},
    )


async def _refuse(_: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    return JSONResponse({"detail": error.detail}, error.status_code, error.headers)
