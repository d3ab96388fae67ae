"""The embedded backend: real servers as child processes on free ports of loopback."""

import json
import secrets
import shutil
import signal
import sys
import time
from contextlib import ExitStack, closing
from functools import partial
from types import TracebackType
from typing import Self

import psycopg
from redis import RedisError

from stack.backends import Progress, later, redis
from stack.backends.errors import StackError
from stack.backends.ports import Ports
from stack.backends.postgres import Postgres, find_account, find_programs
from stack.backends.ready import ask, is_ok, postgres_answers, redis_pings
from stack.backends.servers import Readiness, Servers
from stack.backends.state import Database, seed_flags
from stack.backends.world import (
    COLOURS,
    LATER,
    PORT_NAMES,
    RELEASES,
    ROOT,
    VENDORS,
    World,
    identities,
    inherited,
)
from stack.faults import Faults
from stack.toxiproxy.client.api import ToxiproxyError
from stack.warden import Server

START_SECONDS = 60.0


class EmbeddedStack:
    """The practice stack on this machine; ``stack.backends.Stack`` says what it offers.

    Used from one thread. All its files are in one temporary folder, gone with it.
    """

    kind = "embedded"

    def __init__(
        self, *, seed: int, progress: Progress, ports: Ports, servers: Servers
    ) -> None:
        """Put the parts together; ``start`` is what gives a stack that runs."""
        self.seed = seed
        self.ready_seconds = 0.0
        self._undo = ExitStack()
        self._progress = progress
        self._began = time.monotonic()
        self._servers = servers
        account = find_account()
        self._postgres = Postgres(
            programs=find_programs(account),
            folder=servers.folder / "postgres",
            port=ports.numbers["postgres"],
            account=account,
        )
        redis_port = ports.numbers["redis"]
        self._redis, redis_note = redis.find(redis_port, servers.folder)
        self.notes = (
            f"PostgreSQL: {self._postgres.programs}",
            redis_note,
            f"Logs and data, until the end: {servers.folder}",
        )
        self.deployments, self.git_shas = identities(seed)
        ids, shas = identities(f"{seed}-later", LATER)
        self._world = World(
            ports=ports.numbers,
            postgres=self._postgres.url,
            programs=self._postgres.programs,
            backups=servers.folder / "backups",
            deployments={**self.deployments, **ids},
            git_shas={**self.git_shas, **shas},
        )
        self.deployment_urls = {n: self._world.url(n) for n in self.deployments}
        self.addresses = self._world.addresses
        self.environment = self._world.environment
        self.faults = Faults(self.addresses["toxiproxy"])

    @classmethod
    def start(
        cls,
        *,
        seed: int | None = None,
        progress: Progress = lambda _: None,
        edge_port: int | None = None,
    ) -> Self:
        """Start everything side by side and wait until all of it is ready.

        Without a ``seed`` one is chosen. ``progress`` is told a line for each server.

        Raises:
            PortOccupied: the edge's port is not free.
            StartFailed: a server ended, or was not ready within a minute.
            StackError: something else that is needed is missing; the message says what.

        """
        fixed = {"edge": edge_port} if edge_port else {}
        with ExitStack() as undo:
            ports = undo.enter_context(closing(Ports(PORT_NAMES, fixed)))
            servers = undo.enter_context(closing(Servers()))
            seed = secrets.randbelow(2**31) if seed is None else seed
            stack = cls(seed=seed, progress=progress, ports=ports, servers=servers)
            undo.callback(stack.faults.close)
            stack._start()
            stack._undo = undo.pop_all()
        return stack

    @property
    def pids(self) -> dict[str, int]:
        """The process ids of the warden and its servers, by name."""
        return self._servers.pids

    def deploy(self, release: str = LATER[-1]) -> None:
        """Deploy a release that is not there at start, with its schema; wait for it.

        As on the platform it goes live, unless a rollback has switched that off.

        Raises:
            KeyError: there is no such release.
            StackError: a part of the stack does not answer.

        """
        later.prepare(self._world, release)
        if release not in self.deployments:
            self._spawn_python("app", name=release, env=self._world.app(release))
        self._servers.wait([self._app(release, f"{release}-edge")], START_SECONDS)
        self._tell_platform("deploy", release)
        self.deployments[release] = self._world.deployments[release]
        self.git_shas[release] = self._world.git_shas[release]
        self.deployment_urls[release] = self._world.url(release)

    def reset(self, live: str = "v2") -> None:
        """Go back to the state after start, with this release live and both healthy.

        Raises:
            KeyError: there is no such release.
            StackError: a part of the stack does not answer.

        """
        try:
            self.faults.heal_all()
            self._withdraw()
            self._database.reset()
            seed_flags(self._world.redis)
        except (ToxiproxyError, psycopg.Error, RedisError) as error:
            raise StackError(
                f"The stack cannot be reset ({error}). Start it again."
            ) from error
        shutil.rmtree(self._world.backups, ignore_errors=True)
        for name in (*VENDORS, "platform"):
            self._tell(name, "/_control/reset")
        if live != RELEASES[-1]:
            self._tell_platform("live", live)
        self._servers.wait(self._apps(), START_SECONDS)

    def logs(self, name: str) -> str:
        """Give all that a server has written so far.

        Raises:
            KeyError: there is no server of that name.

        """
        return self._servers.read(name)

    def check(self) -> None:
        """See that every server still runs.

        Raises:
            StackError: one does not; the end of its log is in the message.

        """
        self._servers.check()

    def close(self) -> None:
        """End everything and remove the folder; again is harmless."""
        self._undo.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _start(self) -> None:
        for note in self.notes:
            self._progress(note)
        self._servers.spawn_job(self._postgres.initdb())
        self._spawn("redis", *self._redis)
        proxies = self._world.toxiproxy(self._servers.folder / "toxiproxy.json")
        self._spawn_python("toxiproxy", *proxies, "-seed", str(self.seed))
        self._spawn_python("vendors", self._world.vendors())
        self._spawn_python("platform", self._world.platform())
        for release in RELEASES:
            self._spawn_python("app", name=release, env=self._world.app(release))
        self._wait(*self._base())
        self._wait(*self._apps())
        self.ready_seconds = time.monotonic() - self._began

    def _base(self) -> list[Readiness]:
        """Everything that the app needs, in the order in which it is looked at."""
        url = self._world.url
        states = [f"{url(name)}/_control/state" for name in (*VENDORS, "platform")]
        return [
            Readiness(
                "initdb",
                partial(self._servers.is_done, "initdb"),
                lambda: self._servers.spawn(self._postgres.server()),
            ),
            Readiness(
                "postgres",
                partial(postgres_answers, self._postgres.url),
                self._create_database,
            ),
            Readiness(
                "redis",
                partial(redis_pings, self._world.ports["redis"]),
                partial(seed_flags, self._world.redis),
            ),
            Readiness("toxiproxy", partial(is_ok, url("toxiproxy") + "/version")),
            Readiness("vendors", lambda: all(map(is_ok, states[:-1]))),
            Readiness("platform", partial(is_ok, states[-1])),
        ]

    def _apps(self) -> list[Readiness]:
        """Releases that say they are healthy: they have found all that they need."""
        ports = {r: f"{r}-edge" for r in RELEASES} | {c: f"{c}-app" for c in COLOURS}
        return [self._app(name, port) for name, port in ports.items()]

    def _app(self, name: str, port: str) -> Readiness:
        url = self._world.url(port) + "/api/health"
        return Readiness(name, partial(is_ok, url))

    def _withdraw(self) -> None:
        for release in LATER:
            for known in (self.deployments, self.git_shas, self.deployment_urls):
                known.pop(release, None)
            self._servers.end(release)
        later.withdraw(self._world)

    def _create_database(self) -> None:
        try:
            self._database = Database.create(self._postgres.url)
        except psycopg.Error as error:
            raise StackError(
                f"The migrations cannot be applied ({error}). Mend stack/migrations."
            ) from error

    def _spawn_python(
        self, part: str, *argv: str, name: str = "", env: dict[str, str] | None = None
    ) -> None:
        command = [sys.executable, "-m", f"stack.{part}", *argv]
        self._spawn(name or part, *command, env=env)

    def _spawn(self, name: str, *argv: str, env: dict[str, str] | None = None) -> None:
        self._servers.spawn(
            Server(
                name=name,
                argv=list(argv),
                env={**inherited(), **(env or {})},
                cwd=str(ROOT),
                log=str(self._servers.log(name)),
                # Nobody waits for the last requests of one that is taken back.
                stop_signal=signal.SIGKILL if name in LATER else signal.SIGTERM,
            )
        )

    def _wait(self, *expected: Readiness) -> None:
        def tell(name: str) -> None:
            self._progress(f"{name} ready ({time.monotonic() - self._began:.1f} s)")

        self._servers.wait(expected, START_SECONDS, tell)

    def _tell_platform(self, what: str, name: str) -> None:
        body = json.dumps({"deployment": self._world.deployments[name]})
        self._tell("platform", f"/_control/{what}", body)

    def _tell(self, name: str, path: str, body: str | None = None) -> None:
        answer = ask(self._world.url(name) + path, "POST", body)
        if answer.status not in {200, 204}:
            said = f"{answer.status} {answer.body}" if answer.status else "nothing"
            raise StackError(
                f"{name} answered {said} to {path}. Start the stack again."
            )
