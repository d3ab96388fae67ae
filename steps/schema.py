"""Steps of rollbacks of the database: the command, and what happens meanwhile.

What became of the database is read by SQL of the steps' own, in `schema_outcome`.
"""

import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import httpx
import psycopg
import pytest
from psycopg.types.json import Jsonb
from pydantic import SecretStr
from pytest_bdd import given, parsers, when

from rollback.database_wiring import schema_book
from rollback.settings import Settings
from stack.app.migrate import MIGRATIONS, SCHEMAS, migrate
from stack.backends import Stack

from .application import REASON, ByHand
from .command import end
from .tables import Picture, picture

V2, V3 = SCHEMAS["v2"], SCHEMAS["v3"]
REFUSED = 4
LOST = "couple 1"
GATE = 4711  # the advisory lock of the script that waits
# Not on a copy of the schema alone: there is no row.
WAITS = "SELECT pg_advisory_xact_lock(4711) FROM suppliers LIMIT 1;\n"
FLAWS: dict[str, Callable[[str], str | None]] = {
    "is missing": lambda _: None,
    "ends the transaction by itself": lambda text: f"{text}COMMIT;\n",
    # Holds for a table without rows, such as a copy of the schema alone.
    "fails on the rows that are there": lambda text: (
        f"{text}ALTER TABLE suppliers ADD CONSTRAINT nameless CHECK (name = '');\n"
        "ALTER TABLE suppliers DROP CONSTRAINT nameless;\n"
    ),
    "leaves an index behind": lambda text: (
        f"{text}CREATE INDEX suppliers_by_accident ON suppliers (name);\n"
    ),
    "was changed since": lambda text: f"-- Tidied up.\n{text}",
    "waits in the middle": lambda text: f"{text}{WAITS}",
}


@dataclass(slots=True)
class Scene:
    """The database, the command, and who else is at it."""

    by_hand: ByHand
    url: str
    scripts: Path
    held: ExitStack
    as_v3: Picture | None = None
    at_first: Picture | None = None
    writer: "Writer | None" = None

    def connect(self, name: str = "steps") -> psycopg.Connection[Any]:
        """A session of the database's owner, until the scenario ends."""
        session = psycopg.connect(self.url, autocommit=True, application_name=name)
        return self.held.enter_context(session)

    def script(self, version: str) -> Path:
        """What takes a migration back."""
        return self.scripts / f"rollback_{version}.sql"

    def record(self, release: str, *said: str) -> None:
        """As a pipeline does after each deployment."""
        stack = self.by_hand.stack
        facts = ("--git-sha", stack.git_shas[release], "--migration", SCHEMAS[release])
        deployment = stack.deployments[release]
        made = self.by_hand.command.run("record", deployment, *facts, *said)
        assert made.code == 0, made.stderr

    def record_schema(self) -> None:
        """The schema alone, as `rollback record` does: scripts and fingerprint."""
        given = self.by_hand.stack.environment
        anyio.run(
            _record_schema,
            Settings(
                ledger_url=SecretStr(self.url),
                database_direct_url=SecretStr(self.url),
                migrations=self.scripts,
                postgres_programs=Path(given["ROLLBACK_POSTGRES_PROGRAMS"]),
            ),
        )


async def _record_schema(settings: Settings) -> None:
    async with schema_book(settings) as book:
        await book.record(
            await book.look(), at=datetime.now(UTC), renew=False, fingerprint=True
        )


class Writer(threading.Thread):
    """Couples who send forms to v3: as its code does, until the schema is another."""

    def __init__(self, url: str) -> None:
        super().__init__(name="couples", daemon=True)
        self._url = url
        self.accepted: list[str] = []
        self.problem: str | None = None
        self._leave = threading.Event()

    def run(self) -> None:
        """Send one after the other."""
        with psycopg.connect(self._url, application_name="couples") as session:
            while not self._leave.is_set():
                name = f"couple {uuid.uuid4().hex}"
                try:
                    with session.transaction():
                        _send_form(session, name)
                except psycopg.errors.UndefinedTable as error:
                    self.problem = str(error)
                    return
                self.accepted.append(name)

    def stop(self) -> None:
        """Let it finish what it is at."""
        self._leave.set()
        self.join(20)


def until(condition: Callable[[], bool], what: str, *, seconds: float = 60) -> None:
    """Wait for a condition, or fail with what was waited for."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"in vain: {what}"
        time.sleep(0.01)


@pytest.fixture
def scene(by_hand: ByHand, fresh: Stack, tmp_path: Path) -> Iterator[Scene]:
    """The stack's database, and scripts that a scenario may change."""
    scripts = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, scripts)
    by_hand.set(ROLLBACK_MIGRATIONS=str(scripts))
    with ExitStack() as held:
        yield Scene(by_hand, fresh.addresses["postgres"], scripts, held)


# -- given --------------------------------------------------------------------


@given(parsers.parse("the script that takes {version:d} back {flaw}"))
def flawed(scene: Scene, version: int, flaw: str) -> None:
    """From the beginning, or since it was deployed."""
    path = scene.script(f"{version:03}")
    text = FLAWS[flaw](path.read_text())
    if text is None:
        path.unlink()
    else:
        path.write_text(text)


@given("v3's three migrations are in production, with values in what they added")
def migrated(scene: Scene) -> None:
    """Recorded before and after; written to as v3 does."""
    scene.record_schema()
    scene.at_first = picture(scene.url)
    migrate(scene.url, V3)
    scene.record_schema()
    session = scene.connect()
    with session.transaction():
        for number in range(3):
            _send_form(session, f"couple {number}")
            _order(session, f"order-{number}", amount=600 * (number + 1))
            _sign_up(session, f"Florist {number}")
    scene.as_v3 = picture(scene.url)


def _send_form(session: psycopg.Connection[Any], names: str) -> None:
    form = uuid.uuid4()
    session.execute("INSERT INTO forms (name) VALUES ('rsvp') ON CONFLICT DO NOTHING")
    session.execute(
        "INSERT INTO submissions (id, form, answers) VALUES (%s, 'rsvp', %s)",
        [form, Jsonb({"names": names})],
    )
    session.execute("INSERT INTO couples VALUES (%s, %s)", [form, names])


def _order(session: psycopg.Connection[Any], name: str, *, amount: int) -> None:
    session.execute(
        "INSERT INTO orders (id, amount, currency, tax) VALUES (%s, %s, 'gbp', %s)",
        [name, amount, amount // 6],
    )


def _sign_up(session: psycopg.Connection[Any], name: str) -> None:
    user = uuid.uuid4()
    session.execute(
        "INSERT INTO suppliers (id, auth_user_id, trading_name, email)"
        " VALUES (%s, %s, %s, %s)",
        [user, str(user), name, f"{user}@example.com"],
    )


@given("a nightly report is reading the orders")
def reading(scene: Scene) -> None:
    """In a transaction that does not end."""
    scene.by_hand.set(ROLLBACK_LOCK_ATTEMPTS="2", ROLLBACK_LOCK_TIMEOUT_MS="100")
    session = scene.connect("nightly-report")
    session.execute("BEGIN")
    session.execute("SELECT count(*) FROM orders")


@given("couples go on sending forms to v3")
def writing(scene: Scene) -> None:
    """One after the other, whatever happens."""
    scene.writer = Writer(scene.url)
    scene.held.callback(scene.writer.stop)
    scene.writer.start()
    accepted = scene.writer.accepted
    until(lambda: len(accepted) > 10, "couples have begun")


@given(parsers.parse("{release:w} went live with migrations that v2 cannot run on"))
def went_live(scene: Scene, release: str) -> None:
    """Deployed with its schema; that v2 cannot run on it is recorded."""
    scene.by_hand.stack.deploy(release)
    scene.record(release, "--backward-incompatible")


@given(parsers.parse("{release:w} went live with a migration that v1 can run on"))
def went_live_compatibly(scene: Scene, release: str) -> None:
    """It is live; that v1 can run on its schema is recorded."""
    scene.record(release, "--backward-compatible")
    scene.at_first = picture(scene.url)


@given("a couple and a supplier were served by v3")
def served(scene: Scene) -> None:
    """Through the site, as visitors."""
    site = scene.by_hand.stack.addresses["edge"]
    _post(scene, f"{site}/api/forms/rsvp/submissions", {"answers": {"names": "A & B"}})
    order = {"order_id": "order-1", "amount": 4200, "currency": "gbp"}
    _post(scene, f"{site}/api/payments", order | {"payment_method": "pm_card_visa"})
    person = {"name": "Roses", "email": "r@example.com", "password": "correct-Horse-7"}
    _post(scene, f"{site}/api/suppliers", person)


def _post(scene: Scene, url: str, body: dict[str, Any]) -> httpx.Response:
    answer = scene.by_hand.http.post(url, json=body)
    assert answer.status_code == 201, answer.text
    assert answer.headers["x-deployment-id"] == scene.by_hand.id("v3")
    return answer


# -- when ---------------------------------------------------------------------


@when("the schema is rolled back to v2's")
def rolled_back(scene: Scene) -> None:
    """The database alone."""
    scene.by_hand.run(*arguments())


def arguments() -> tuple[str, ...]:
    """What rolls the schema back, without a question."""
    return ("db", "--to", V2, "--reason", REASON, "--yes")


@when("the plan of a rollback to v2's schema is asked for")
def plan_asked(scene: Scene) -> None:
    """With nothing to confirm."""
    scene.by_hand.run("db", "--to", V2, "--plan")


@when("the migrations are applied again and the archive is put back")
def refilled(scene: Scene) -> None:
    """First the one, by the app's own means, then the other, by the command."""
    migrate(scene.url, V3)
    _refill(scene)


@when("v3 is deployed again and the archive is put back")
def deployed_again(scene: Scene) -> None:
    """It waits to be promoted, as after any rollback."""
    scene.by_hand.stack.deploy("v3")
    _refill(scene)


def _refill(scene: Scene) -> None:
    ran = scene.by_hand.run("db", "refill", "004", "--yes")
    assert ran.code == 0, ran.stderr


@when("the schema is rolled back to v2's, and its connection is cut in the middle")
def cut(scene: Scene) -> None:
    """As soon as it waits in its second script; what it waits for never comes."""
    gate, watcher = scene.connect(), scene.connect()
    gate.execute("SELECT pg_advisory_lock(%s)", [GATE])
    running = scene.by_hand.command.start(*arguments(), "--json")
    try:
        until(lambda: _cut(watcher) or running.process.poll() is not None, "it waits")
        scene.by_hand.ran.append(running.result(seconds=120))
    finally:
        end(running)
    gate.execute("SELECT pg_advisory_unlock(%s)", [GATE])


def _cut(session: psycopg.Connection[Any]) -> bool:
    found = session.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE wait_event_type = 'Lock' AND wait_event = 'advisory'"
    )
    return found.fetchone() == (True,)


@when("the schema is rolled back to v2's, and rehearsed before")
def rehearsed(scene: Scene) -> None:
    """On the backup, restored."""
    scene.by_hand.run(*arguments(), "--rehearse")


@when("the form of one couple is deleted")
def form_deleted(scene: Scene) -> None:
    """By v2, which knows nothing of couples."""
    query = "DELETE FROM submissions WHERE answers->>'names' = %s"
    scene.connect().execute(query, [LOST])


@when("v3 is rolled back by hand")
def release_rolled_back(scene: Scene) -> None:
    """Nothing said of the database: what is recorded decides."""
    scene.by_hand.run("run", "--reason", REASON, "--yes")
