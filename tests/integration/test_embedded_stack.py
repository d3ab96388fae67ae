"""The embedded stack starts whole, says what it is, and goes back to its start."""

import http.client
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql
from redis import Redis

from stack.backends import Stack, StackError, start
from stack.backends import redis as redis_server
from stack.backends.embedded import EmbeddedStack
from stack.backends.errors import PortOccupied, StartFailed, UnknownStack
from stack.backends.ports import Ports, _reserve
from stack.backends.servers import Readiness, Servers
from stack.backends.world import identities
from stack.warden import Server


@pytest.fixture(scope="module")
def running() -> Iterator[EmbeddedStack]:
    """One stack for the tests that leave it usable."""
    with EmbeddedStack.start(seed=7) as stack:
        yield stack


@pytest.fixture
def stack(running: EmbeddedStack) -> Iterator[EmbeddedStack]:
    """The stack as it is after start."""
    yield running
    running.reset()


def until(condition: Callable[[], bool], what: str, seconds: float = 20.0) -> None:
    """Wait for a condition, or fail with what was waited for."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def send(
    url: str, body: object = None, method: str = "GET", **headers: str
) -> tuple[int, dict[str, str], Any]:
    """Send one request and give status, headers and JSON, or text that is none."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=10)
    data = None if body is None else json.dumps(body)
    if data is not None:
        method = "POST" if method == "GET" else method
        headers["content-type"] = "application/json"
    try:
        query = f"?{parts.query}" if parts.query else ""
        connection.request(method, (parts.path or "/") + query, data, headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        fields = {name.lower(): value for name, value in answer.getheaders()}
    finally:
        connection.close()
    try:
        return answer.status, fields, json.loads(text)
    except ValueError:
        return answer.status, fields, text


def bypass(stack: Stack) -> dict[str, str]:
    """The header that opens a deployment's own address."""
    secret = stack.environment["VERCEL_AUTOMATION_BYPASS_SECRET"]
    return {"x-vercel-protection-bypass": secret}


def count(stack: Stack, table: str) -> int:
    """How many rows a table has."""
    with psycopg.connect(stack.addresses["postgres"]) as connection:
        name = sql.Identifier(*table.split("."))
        query = sql.SQL("SELECT count(*) FROM {}").format(name)
        row = connection.execute(query).fetchone()
    assert row is not None
    return int(row[0])


def test_the_site_is_healthy(stack: EmbeddedStack) -> None:
    """A stack that says it is ready answers as v2 at the edge, all checks healthy."""
    status, headers, health = send(stack.addresses["edge"] + "/api/health")

    assert status == 200
    assert set(health.values()) == {"healthy"}
    assert headers["x-deployment-id"] == stack.deployments["v2"]


def test_each_deployment_has_its_own_address(stack: EmbeddedStack) -> None:
    """A release is reached alone with the bypass secret, and denied without it."""
    for release, identity in stack.deployments.items():
        url = stack.deployment_urls[release] + "/api/health"

        assert send(url)[0] == 401
        status, headers, _ = send(url, **bypass(stack))
        assert (status, headers["x-deployment-id"]) == (200, identity)


def test_names_its_parts(stack: EmbeddedStack) -> None:
    """Addresses, deployments and settings bear the names of the contract."""
    assert set(stack.addresses) == {
        *("edge", "api", "platform", "postgres", "redis", "toxiproxy"),
        *("stripe", "sentry", "slack", "auth"),
    }
    for identity in stack.deployments.values():
        assert identity.startswith("dpl_")
        assert identity[4:].isalnum()
    assert {len(sha) for sha in stack.git_shas.values()} == {40}
    assert stack.environment["DATABASE_URL"] == stack.addresses["postgres"]
    assert stack.environment["ROLLBACK_SITE_URL"] == stack.addresses["edge"]
    programs = Path(stack.environment["ROLLBACK_POSTGRES_PROGRAMS"])
    assert {"pg_dump", "pg_restore"} <= {path.name for path in programs.iterdir()}
    scripts = Path(stack.environment["ROLLBACK_MIGRATIONS"]).glob("rollback_*.sql")
    assert {path.stem for path in scripts} >= {"rollback_003", "rollback_006"}


def test_one_seed_gives_one_world(stack: EmbeddedStack) -> None:
    """The same seed names the same deployments, another one others."""
    assert identities(7) == (stack.deployments, stack.git_shas)
    assert identities(8) != identities(7)


def test_each_release_has_its_own_route(stack: EmbeddedStack) -> None:
    """Each release reaches each dependency by its own route; v2's alone can be cut."""
    proxies = send(stack.addresses["toxiproxy"] + "/proxies")[2]
    assert set(proxies) == {
        f"{release}-{dependency}"
        for release in ("v1", "v2")
        for dependency in ("postgres", "redis", "stripe", "auth", "edge")
    }

    off = {"enabled": False}
    send(stack.addresses["toxiproxy"] + "/proxies/v2-redis", off)

    def redis_of(release: str) -> object:
        url = stack.deployment_urls[release] + "/api/health"
        return send(url, **bypass(stack))[2]["redis"]

    until(lambda: redis_of("v2") == "unhealthy", "v2 without its Redis")
    assert redis_of("v1") == "healthy"


def test_reset_brings_back_the_start(stack: EmbeddedStack) -> None:
    """Rows, flags, keys, toxics, vendors and the live release are as at start."""
    supplier = {"name": "Roses", "email": "r@example.org", "password": "long enough 1"}
    assert send(stack.addresses["edge"] + "/api/suppliers", supplier)[0] == 201
    assert count(stack, "suppliers") == 1
    send(stack.addresses["slack"] + "/services/T0000/B0000/test", {"text": "hello"})
    url = stack.addresses["toxiproxy"] + "/proxies/v2-postgres/toxics"
    assert send(url, {"type": "latency", "attributes": {"latency": 1}})[0] == 200
    with Redis.from_url(stack.addresses["redis"]) as client:
        client.hset("feature_flags", "timeline", "disabled")

    stack.reset(live="v1")

    assert count(stack, "suppliers") == 0
    assert count(stack, "health_check") == 1
    assert send(url)[2] == []
    assert "hello" not in str(send(stack.addresses["slack"] + "/_control/state")[2])
    with Redis.from_url(stack.addresses["redis"], decode_responses=True) as client:
        assert client.hgetall("feature_flags") == {"timeline": "enabled"}
        assert client.keys("session:*") == []
    _, headers, _ = send(stack.addresses["edge"] + "/api/health")
    assert headers["x-deployment-id"] == stack.deployments["v1"]


def test_reset_empties_the_ledger(stack: EmbeddedStack) -> None:
    """What the engine wrote into its own schema is gone, and so are its backups.

    The tables stay, but for those of what it archived.
    """
    with psycopg.connect(stack.addresses["postgres"]) as connection:
        connection.execute("CREATE SCHEMA rollback")
        connection.execute("CREATE TABLE rollback.incidents AS SELECT 1 AS id")
        connection.execute("CREATE TABLE rollback.archives (number int PRIMARY KEY)")
        connection.execute(
            "CREATE TABLE rollback.archive_1 (number int REFERENCES rollback.archives)"
        )
    backup = Path(stack.environment["ROLLBACK_BACKUPS"]) / "2026-11-22" / "database"
    backup.mkdir(parents=True)

    stack.reset()

    assert count(stack, "rollback.incidents") == 0
    with psycopg.connect(stack.addresses["postgres"]) as connection:
        found = connection.execute("SELECT to_regclass('rollback.archive_1')")
        assert found.fetchone() == (None,)
    assert not backup.parent.exists()


def test_reset_brings_back_the_schema(stack: EmbeddedStack) -> None:
    """A schema that was rolled back is at the newest version again."""
    with psycopg.connect(stack.addresses["postgres"]) as connection:
        connection.execute("DELETE FROM schema_migrations WHERE version = '003'")
        connection.execute("ALTER TABLE submissions DROP COLUMN wedding_date")

    stack.reset()

    with psycopg.connect(stack.addresses["postgres"]) as connection:
        connection.execute("SELECT wedding_date FROM submissions")
    assert count(stack, "schema_migrations") == 3
    assert count(stack, "health_check") == 1


def test_reset_finds_what_the_history_does_not_tell(stack: EmbeddedStack) -> None:
    """A schema that was changed by hand is put right, though its history is whole."""
    with psycopg.connect(stack.addresses["postgres"]) as connection:
        connection.execute("CREATE TABLE forgotten ()")
        connection.execute("ALTER TABLE suppliers RENAME COLUMN name TO called")

    stack.reset()

    with psycopg.connect(stack.addresses["postgres"]) as connection:
        connection.execute("SELECT name FROM suppliers")
        found = connection.execute("SELECT to_regclass('forgotten')")
        assert found.fetchone() == (None,)


def test_a_later_release_comes_and_goes(stack: EmbeddedStack) -> None:
    """v3 goes live with its schema and its routes; a reset takes all of it back."""
    before = dict(stack.deployments)
    assert "v3" not in before

    stack.deploy("v3")

    site = stack.addresses["edge"]
    _, headers, health = send(site + "/api/health")
    assert headers["x-deployment-id"] == stack.deployments["v3"]
    assert set(health.values()) == {"healthy"}
    supplier = {"name": "Roses", "email": "r@example.org", "password": "long enough 1"}
    assert send(site + "/api/suppliers", supplier)[0] == 201
    form = {"answers": {"names": "Kim & Lou"}}
    assert send(site + "/api/forms/rsvp/submissions", form)[0] == 201
    assert (count(stack, "couples"), count(stack, "schema_migrations")) == (1, 6)
    proxies = stack.addresses["toxiproxy"] + "/proxies"
    send(proxies + "/v3-postgres", {"enabled": False})
    until(lambda: send(site + "/api/health")[0] == 503, "v3 without its database")
    url = stack.deployment_urls["v3"] + "/api/health"

    stack.reset()

    assert stack.deployments == before
    assert "v3" not in stack.pids
    assert not {name for name in send(proxies)[2] if name.startswith("v3")}
    assert send(url, **bypass(stack))[0] == 404
    assert send(site + "/")[1]["x-deployment-id"] == before["v2"]
    assert count(stack, "schema_migrations") == 3


def test_a_release_waits_after_a_rollback(stack: EmbeddedStack) -> None:
    """Once a rollback has switched that off, a new build does not go live by itself."""
    given = stack.environment
    path = f"/v1/projects/{given['VERCEL_PROJECT_ID']}/rollback"
    path += f"/{stack.deployments['v1']}?teamId={given['VERCEL_TEAM_ID']}"
    token = {"authorization": f"Bearer {given['VERCEL_TOKEN']}"}
    assert send(given["VERCEL_API_URL"] + path, method="POST", **token)[0] == 201
    site = stack.addresses["edge"]

    def serving() -> str:
        return send(site + "/api/health")[1]["x-deployment-id"]

    until(lambda: serving() == stack.deployments["v1"], "v1 live")

    stack.deploy("v3")

    assert serving() == stack.deployments["v1"]
    url = stack.deployment_urls["v3"] + "/api/health"
    assert send(url, **bypass(stack))[0] == 200


def test_reset_ends_what_stands_in_its_way(stack: EmbeddedStack) -> None:
    """A transaction that a fault left open does not hold up the next scenario."""
    with psycopg.connect(stack.addresses["postgres"]) as stuck:
        stuck.execute("LOCK TABLE suppliers")

        stack.reset()

        with pytest.raises(psycopg.OperationalError):
            stuck.execute("SELECT 1")


def test_shows_logs(stack: EmbeddedStack) -> None:
    """A server's log is read by its name."""
    assert "ready to accept connections" in stack.logs("postgres")
    with pytest.raises(KeyError):
        stack.logs("nobody")


def test_occupied_port() -> None:
    """A port in use is refused before anything is started, naming the port."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]

        with pytest.raises(PortOccupied, match=f"Port {port} cannot be used"):
            start("embedded", edge_port=port)


def test_unknown_stack() -> None:
    """A backend that does not exist is refused with those that do."""
    with pytest.raises(UnknownStack, match="Choose one of: embedded"):
        start("cloud")


@pytest.mark.slow
def test_runs_without_a_redis_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no Redis at all, its stand-in serves, and the notes say so."""
    monkeypatch.setattr(redis_server, "ON_PATH", ())
    monkeypatch.setattr(redis_server, "_wheel", lambda: None)

    with start("embedded") as stack:
        assert any("fakeredis" in note for note in stack.notes)
        url = stack.addresses["edge"] + "/api/features/timeline"
        assert send(url)[2] == {"name": "timeline", "enabled": True}
        stack.reset()


def test_ports_are_kept_from_other_stacks() -> None:
    """A block of ports is not given twice, though nothing listens on it yet."""
    ports = Ports(["one", "two"], {})
    guard = min(ports.numbers.values()) - 1

    with pytest.raises(OSError, match="in use"):
        _reserve(guard)

    ports.close()
    _reserve(guard).close()


def test_slow_server_shows_its_log() -> None:
    """A server that is not ready in time is named, with what it has said."""
    servers = Servers()
    with closing(servers):
        log = servers.log("slow")
        script = "echo still thinking; sleep 600"
        argv = ["/bin/sh", "-c", script]
        servers.spawn(Server(name="slow", argv=argv, env={}, cwd="/", log=str(log)))
        until(
            lambda: log.exists() and log.read_text() != "", "the server's first words"
        )

        with pytest.raises(
            StartFailed, match=r"slow was not ready within 0\.1 s"
        ) as late:
            servers.wait([Readiness("slow", lambda: False)], 0.1)

        assert late.value.log == "still thinking"
    assert not servers.folder.exists()


def test_failed_server_shows_its_log(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A server that does not come up is named, with the last 20 lines of its log."""
    program = tmp_path / "redis-server"
    program.write_text("#!/bin/sh\nseq 30\necho Bad directive >&2\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    with pytest.raises(StackError) as caught:
        start("embedded")

    said = str(caught.value).splitlines()
    assert said[0].startswith("redis ended with code 3.")
    assert said[-20:] == [*map(str, range(12, 31)), "Bad directive"]
