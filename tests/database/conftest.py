"""A fresh database for each test, on the practice stack's server."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from stack.backends import Stack
from stack.backends.postgres import find_account, find_programs


@pytest.fixture
def anyio_backend() -> str:
    """The database's client needs asyncio."""
    return "asyncio"


@pytest.fixture(scope="session")
def server(stack: Stack) -> str:
    """The address of the server, as its owner."""
    return stack.addresses["postgres"]


@pytest.fixture(scope="session")
def programs_folder() -> Path:
    """Where pg_dump and pg_restore of the server's version are."""
    return find_programs(find_account())


@pytest.fixture
def database(server: str) -> Iterator[str]:
    """The address of an empty database of the test's own."""
    name = f"test_{secrets.token_hex(4)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    yield make_conninfo(server, dbname=name)
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture(scope="module")
def two_databases(server: str) -> Iterator[tuple[str, str]]:
    """The addresses of two databases of the module's own, which its tests empty."""
    names = [f"test_{secrets.token_hex(4)}" for _ in range(2)]
    with psycopg.connect(server, autocommit=True) as connection:
        for name in names:
            connection.execute(f"CREATE DATABASE {name}".encode())
    yield make_conninfo(server, dbname=names[0]), make_conninfo(server, dbname=names[1])
    with psycopg.connect(server, autocommit=True) as connection:
        for name in names:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
