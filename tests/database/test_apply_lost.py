"""A connection that is lost, or a person who gives up: done whole, or not at all."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from rollback.errors import DatabaseUnreachable
from rollback.targets.database import apply

from .applying import carry_out, history, plan, script, sql, versions

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

WANTED = plan((script("2", "DROP TABLE t"),), [("2", "table", "public.t")], to="1")


@pytest.fixture
def table(database: str) -> str:
    """A table with a value."""
    history(database, "1", "2")
    sql(database, "CREATE TABLE t (id int)", "INSERT INTO t VALUES (7)")
    return database


@dataclass
class Way:
    """The way to the server, which is cut once: at the first COMMIT.

    `heard`: the server gets it before. `closed`: nobody gets through afterwards.
    """

    url: str
    heard: bool
    closed: bool = False
    cut: bool = field(default=False, init=False)

    async def serve(self, client: SocketStream) -> None:
        """Carry what is said, in both directions."""
        if self.cut and self.closed:
            await client.aclose()
            return
        facts = conninfo_to_dict(self.url)
        server = await anyio.connect_tcp("127.0.0.1", int(str(facts["port"])))
        over = anyio.Event()
        async with client, server, anyio.create_task_group() as tasks:
            tasks.start_soon(self.there, client, server, over, tasks.cancel_scope)
            while (data := await received(server)) and not over.is_set():
                await client.send(data)
            tasks.cancel_scope.cancel()

    async def there(
        self,
        client: SocketStream,
        server: SocketStream,
        over: anyio.Event,
        scope: anyio.CancelScope,
    ) -> None:
        """From the client to the server, up to the COMMIT."""
        while data := await received(client):
            if b"COMMIT\0" in data and not self.cut:
                self.cut = True
                over.set()
                if not self.heard:
                    break
            await server.send(data)
        if not (over.is_set() and self.heard):
            scope.cancel()


async def received(stream: SocketStream) -> bytes:
    """The next bytes; none at the end."""
    try:
        return await stream.receive()
    except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
        return b""


@asynccontextmanager
async def through(way: Way) -> AsyncIterator[str]:
    """The address of the database by this way."""
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(SocketAttribute.local_port)  # noqa: S610 - not Django
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, way.serve)
        yield make_conninfo(way.url, host="127.0.0.1", port=port, sslmode="disable")
        tasks.cancel_scope.cancel()


async def test_a_lost_reply_to_the_commit_is_looked_up(table: str) -> None:
    """The receipt is there: the rollback was done, and is reported as done."""
    async with through(Way(url=table, heard=True)) as url:
        receipt = await carry_out(url, WANTED)
    assert receipt.to_version == "1"
    assert versions(table) == ("1",)


async def test_a_commit_that_never_arrived_changed_nothing(table: str) -> None:
    """No receipt is there: nothing was done, and that is said."""
    async with through(Way(url=table, heard=False)) as url:
        with pytest.raises(DatabaseUnreachable, match="Nothing was changed"):
            await carry_out(url, WANTED)
    assert versions(table) == ("1", "2")
    assert sql(table, "SELECT id FROM t") == [(7,)]


async def test_what_is_not_known_is_not_claimed(
    table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While nobody answers it is neither done nor undone; a second run finds out."""
    monkeypatch.setattr(apply, "SETTLE_SECONDS", 0.3)
    async with through(Way(url=table, heard=True, closed=True)) as url:
        with pytest.raises(DatabaseUnreachable, match="is not known"):
            await carry_out(url, WANTED)
    assert (await carry_out(table, WANTED)).to_version == "1"


async def test_who_gives_up_leaves_nothing_behind(table: str) -> None:
    """Cancelled in the middle of a script: no session is left, and all is as before."""
    slow = script("2", "DROP TABLE t; SELECT pg_sleep(60)")
    wanted = plan((slow,), [("2", "table", "public.t")], to="1")
    sleeping = (
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'rollback'"
        " AND wait_event = 'PgSleep' AND datname = current_database()"
    )
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(carry_out, table, wanted)
        with anyio.fail_after(20):
            while not sql(table, sleeping):  # noqa: ASYNC110 - in another process
                await anyio.sleep(0.02)
        tasks.cancel_scope.cancel()
    assert sql(table, sleeping) == []
    assert sql(table, "SELECT id FROM t") == [(7,)]
    assert versions(table) == ("1", "2")
