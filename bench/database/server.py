"""The practice stack's PostgreSQL alone, for as long as it is measured."""

import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from stack.backends.postgres import Postgres, find_account, find_programs
from stack.backends.ready import postgres_answers
from stack.backends.servers import Readiness, Servers

__all__ = ["Server"]

READY_SECONDS = 60


class Server:
    """A running server, on which databases are made."""

    def __init__(self, url: str, programs: Path) -> None:
        self.url = url
        self.programs = programs

    @classmethod
    @contextmanager
    def started(cls) -> Iterator["Server"]:
        """Start it; at the end it goes with all that it holds."""
        account = find_account()
        servers = Servers()
        try:
            postgres = Postgres(
                programs=find_programs(account),
                folder=servers.folder / "postgres",
                port=_free_port(),
                account=account,
            )
            servers.spawn_job(postgres.initdb())
            servers.wait(_stages(servers, postgres), READY_SECONDS)
            yield cls(postgres.url, postgres.programs)
        finally:
            servers.close()

    @property
    def version(self) -> str:
        """What it says that it is."""
        with psycopg.connect(self.url) as connection:
            return f"PostgreSQL {connection.info.parameter_status('server_version')}"

    @contextmanager
    def database(self, template: str = "template1") -> Iterator[str]:
        """A database of its own, dropped at the end: its address."""
        name = f"bench_{secrets.token_hex(4)}"
        self._do(f"CREATE DATABASE {name} TEMPLATE {template}")
        try:
            yield make_conninfo(self.url, dbname=name)
        finally:
            self._do(f"DROP DATABASE {name} WITH (FORCE)")

    def _do(self, statement: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(statement.encode())


def name_of(url: str) -> str:
    """The database's name."""
    return str(conninfo_to_dict(url)["dbname"])


def _stages(servers: Servers, postgres: Postgres) -> list[Readiness]:
    return [
        Readiness(
            "initdb",
            partial(servers.is_done, "initdb"),
            lambda: servers.spawn(postgres.server()),
        ),
        Readiness("postgres", partial(postgres_answers, postgres.url)),
    ]


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
