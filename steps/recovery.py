"""Steps of state recovery: what is given and done, on the real database and Redis."""

import secrets
import signal
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo
from pytest_bdd import given, parsers, when
from redis import Redis

from rollback.adapters.clock import SystemClock
from rollback.adapters.postgres import PostgresLedger
from rollback.model import HealthStatus
from rollback.schema import Backup
from rollback.targets.database.backup import Backups
from stack.backends import Stack

from .application import ByHand, put_on_record
from .command import end

PAGES = {f"page:{number}": f"as v2 has it, {number}" for number in range(1200)}
STAYS = {"session:1": "a supplier", "pages": "no cache"}
QUEUE = "bull:mails:wait"
RESTORED = "step done: restore the database"
KILLED_WITHIN = 120.0
ENDS_WITHIN = 180.0  # on a machine that has much else to do


@dataclass(slots=True)
class Recovering:
    """The command on a damaged state, and that state looked at from outside."""

    by_hand: ByHand
    redis: Redis
    database: str
    backups: Backups
    backup: Backup | None = None
    before: Any = None
    signed_up: list[str] = field(default_factory=list)

    def recover(self, *options: str, consent: bool = True) -> None:
        """Run `rollback recover` to its end."""
        self.before = self.state()
        yes = ("--yes",) if consent else ()
        asked = ("recover", *options, "--reason", "v2 spoilt it", *yes, "--json")
        ran = self.by_hand.command.run(*asked, seconds=ENDS_WITHIN)
        self.by_hand.ran.append(ran)

    def state(self) -> Any:
        """All that a recovery may touch, but for the app's own counters."""
        names = [n for n in self.redis.scan_iter() if not n.startswith(b"requests:")]
        return (
            {name: self.redis.dump(name) for name in names},
            self.suppliers(),
            self.by_hand.state()["domains"],
            len(list(Path(self.backups_folder).glob("*/manifest.json"))),
        )

    @property
    def backups_folder(self) -> str:
        """Where the command keeps its backups."""
        return self.by_hand.command.settings["ROLLBACK_BACKUPS"]

    def sign_up(self) -> str:
        """One more supplier, as the app writes them."""
        name = f"supplier {secrets.token_hex(4)}"
        with psycopg.connect(self.database) as connection:
            connection.execute(
                "INSERT INTO suppliers (id, auth_user_id, name, email)"
                " VALUES (gen_random_uuid(), %(name)s, %(name)s, %(name)s)",
                {"name": name},
            )
        return name

    def suppliers(self) -> set[str]:
        """Those who did so by this; the critical flows sign up others."""
        with psycopg.connect(self.database) as connection:
            found = connection.execute(
                "SELECT name FROM suppliers WHERE name LIKE 'supplier %'"
            )
            return {row[0] for row in found}


@pytest.fixture
def recovering(by_hand: ByHand, tmp_path: Path) -> Iterator[Recovering]:
    """The command, with a folder of its own for backups and with caches named."""
    given = by_hand.stack.environment
    folder = tmp_path / "backups"
    by_hand.set(
        ROLLBACK_BACKUPS=str(folder),
        ROLLBACK_CACHE_PREFIXES="page:,fragment:",
        ROLLBACK_CACHE_TAGS="feature:timeline",
        ROLLBACK_HEALTHY_IN_A_ROW="1",
    )
    database = given["DATABASE_URL"]
    backups = Backups(
        url=database,
        where=str(folder),
        programs=Path(given["ROLLBACK_POSTGRES_PROGRAMS"]),
        schemas=("public",),
        jobs=1,
        kept=10,
        clock=SystemClock(),
    )
    with closing(Redis.from_url(by_hand.stack.addresses["redis"])) as redis:
        yield Recovering(by_hand, redis, database, backups)
    _clear_away(database)


def _clear_away(database: str) -> None:
    """What a restore has kept: the practice stack goes on with one copy."""
    # Out of the database itself, as others may have taken its place.
    beside = make_conninfo(database, dbname="template1")
    with psycopg.connect(beside, autocommit=True) as connection:
        found = connection.execute(
            r"SELECT datname FROM pg_database WHERE datname LIKE '%\_before\_%'"
        )
        for (name,) in found.fetchall():
            drop = sql.SQL("DROP DATABASE {} WITH (FORCE)")
            connection.execute(drop.format(sql.Identifier(name)))
    with psycopg.connect(database, autocommit=True) as connection:
        found = connection.execute(
            r"SELECT nspname FROM pg_namespace WHERE nspname LIKE '%\_before\_%'"
        )
        for (name,) in found.fetchall():
            drop = sql.SQL("DROP SCHEMA {} CASCADE")
            connection.execute(drop.format(sql.Identifier(name)))


# -- given --------------------------------------------------------------------


@given("the caches hold pages of v2, beside flags, sessions and a queue")
def caches_hold(recovering: Recovering) -> None:
    """More pages than one look at Redis shows."""
    recovering.redis.mset(PAGES)
    recovering.redis.mset(STAYS)
    recovering.redis.rpush(QUEUE, "a mail", "another")


@given("two suppliers have signed up")
def two_suppliers(recovering: Recovering) -> None:
    """Who must never be lost."""
    recovering.signed_up = [recovering.sign_up(), recovering.sign_up()]


@given("the database was backed up, and v2 went live after that")
def backed_up(recovering: Recovering) -> None:
    """As every night; the record of v2 tells that it is the later one."""
    recovering.backup = anyio.run(recovering.backups.take, "nightly", print)
    anyio.run(put_on_record, recovering.by_hand.stack)


@given("v2 is on record as passing")
def v2_passed(recovering: Recovering) -> None:
    """A gate saw nothing amiss with it."""
    anyio.run(_pass_v2, recovering.by_hand.stack)


async def _pass_v2(stack: Stack) -> None:
    ledger = PostgresLedger(stack.environment["ROLLBACK_LEDGER_URL"])
    now = datetime.now(UTC)
    v2 = stack.deployments["v2"]
    await ledger.set_health(v2, "production", HealthStatus.PASSING, now)


@given("v2 has deleted every supplier, and one more has signed up since")
def damaged(recovering: Recovering) -> None:
    """What the release did, and what was written meanwhile."""
    with psycopg.connect(recovering.database) as connection:
        connection.execute("DELETE FROM suppliers")
    recovering.sign_up()


@given("one more supplier signs up")
def one_more(recovering: Recovering) -> None:
    """On the restored database."""
    recovering.signed_up.append(recovering.sign_up())


@given("a bit of that backup has turned")
def bit_turned(recovering: Recovering) -> None:
    """In a file with rows; its length is as before."""
    assert recovering.backup
    folder = Path(recovering.backup.path) / "database"
    largest = max(folder.glob("*.dat*"), key=lambda path: path.stat().st_size)
    held = bytearray(largest.read_bytes())
    held[len(held) // 2] ^= 1
    largest.write_bytes(bytes(held))


@given(parsers.parse('the prefix "{prefix}" is named as a cache'))
def prefix_named(recovering: Recovering, prefix: str) -> None:
    """Beside one that is."""
    recovering.by_hand.set(ROLLBACK_CACHE_PREFIXES=f"page:,{prefix}")


@given("the database can no longer be reached by the command")
def database_gone(recovering: Recovering) -> None:
    """The ledger, elsewhere, still can; so can the backups that were taken."""
    nowhere = make_conninfo(recovering.database, port=1)
    settings = {"DATABASE_URL": nowhere, "DATABASE_DIRECT_URL": nowhere}
    recovering.by_hand.set(**settings)
    assert recovering.backup
    _taken_there(Path(recovering.backup.path) / "manifest.json", recovering.backup)


def _taken_there(manifest: Path, backup: Backup) -> None:
    """Its manifest names the address that is down."""
    text = manifest.read_text("utf-8")
    host, _, name = backup.database.partition("/")
    gone = f"{host.partition(':')[0]}:1/{name}"
    manifest.write_text(text.replace(backup.database, gone), "utf-8")


@given(
    "the state is being recovered with the database, and killed once the rows are back"
)
def killed(recovering: Recovering) -> None:
    """While the edge does not answer: there it stands, and there it ends."""
    by_hand = recovering.by_hand
    by_hand.control("faults", delete_by_tags={"status": 503, "times": 9999})
    running = by_hand.command.start("recover", "--with-database", "--yes", "--json")
    try:
        _until_said(running, RESTORED)
        running.process.send_signal(signal.SIGKILL)
        running.process.wait(20)
    finally:
        end(running)
    by_hand.control("faults", delete_by_tags=None)


def _until_said(running: Any, words: str) -> None:
    ends = time.monotonic() + KILLED_WITHIN
    while not any(words in line for line in running.said()):
        assert time.monotonic() < ends, f"never said {words}: {running.said()}"
        assert running.process.poll() is None, f"it ended: {running.said()}"
        time.sleep(0.02)


# -- when ---------------------------------------------------------------------


@when("the state is recovered")
def recovered(recovering: Recovering) -> None:
    """By the command, with consent."""
    recovering.recover()


@when("the state is recovered with the database, in place")
def recovered_in_place(recovering: Recovering) -> None:
    """In one transaction."""
    recovering.recover("--with-database")


@when("the state is recovered with the database, by swap")
def recovered_by_swap(recovering: Recovering) -> None:
    """Into a new database."""
    recovering.recover("--with-database", "--swap")


@when("the state is recovered with a new build")
def recovered_anew(recovering: Recovering) -> None:
    """Of whatever is live by then."""
    recovering.recover("--redeploy")


@when("the plan of a recovery with the database is shown")
def plan_shown(recovering: Recovering) -> None:
    """Nobody is asked."""
    recovering.recover("--with-database", "--plan", consent=False)


@when("the state would be recovered without --yes")
def without_consent(recovering: Recovering) -> None:
    """There is no terminal on which anybody could be asked."""
    recovering.recover(consent=False)
