"""Who takes part: ours and the peers, each with its own commands."""

import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict

from . import migrations
from .server import Server

__all__ = ["Contender", "Peers", "find_peers", "known", "run"]

ROOT = Path(__file__).parents[2]
SECONDS = 600
PACKAGES = ("alembic>=1.16,<2", "yoyo-migrations>=9,<10", "psycopg2-binary>=2.9,<3")
YOYO_VERSION = "import importlib.metadata as m; print(m.version('yoyo-migrations'))"
GOLANG = "github.com/golang-migrate/migrate/v4/cmd/migrate@v4.18.3"

Command = Callable[[str, int], Sequence[str]]
"""From a database's address and how many migrations to take back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """One tool: how its files are written, how it deploys and how it reverts."""

    name: str
    version: str
    checks: str
    write: Callable[[Path, tuple[migrations.Migration, ...]], None]
    deploy: Command
    revert: Command
    folder: Path
    environment: Callable[[str], Mapping[str, str]] = lambda _: {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Peers:
    """Where their programs are; `missing` says which are not, and why."""

    python: Path | None = None
    sqitch: str | None = None
    migrate: str | None = None
    missing: tuple[str, ...] = field(default=())


def find_peers(folder: Path, python: Path | None, migrate: str | None) -> Peers:
    """Look for them; install in `folder` what pip and go can."""
    missing = []
    sqitch = shutil.which("sqitch")
    if sqitch is None:
        missing.append("sqitch is not on PATH (Debian: apt-get install sqitch)")
    migrate = migrate or shutil.which("migrate") or _go_install(folder)
    if migrate is None:
        missing.append("golang-migrate: neither on PATH nor built by go")
    missing.append("dbmate takes back one migration a command: it is left out")
    return Peers(
        python=python or _environment(folder),
        sqitch=sqitch,
        migrate=migrate,
        missing=tuple(missing),
    )


def known(server: Server, folder: Path, peers: Peers) -> list[Contender]:
    """Everybody that is there; each with a folder of its own in `folder`."""
    found = [_ours(server, folder)]
    if peers.sqitch:
        found.append(_sqitch(peers.sqitch, folder))
    if peers.python:
        found += [_alembic(peers.python, folder), _yoyo(peers.python, folder)]
    if peers.migrate:
        found.append(_golang(peers.migrate, folder))
    return found


def run(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> str:
    """Run a command to its end; raises `RuntimeError` with what it said."""
    done = subprocess.run(  # noqa: S603 - our own words
        command,
        cwd=folder,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    if done.returncode:
        said = (done.stdout + done.stderr)[-2000:]
        raise RuntimeError(f"{' '.join(command)}: {said}")
    return done.stdout


def _ours(server: Server, folder: Path) -> Contender:
    def environment(url: str) -> Mapping[str, str]:
        return {
            "DATABASE_URL": url,
            "DATABASE_DIRECT_URL": url,
            "ROLLBACK_LEDGER_URL": url,
            "ROLLBACK_MIGRATIONS": str(folder / "ours"),
            "ROLLBACK_BACKUPS": str(folder / "backups"),
            "ROLLBACK_POSTGRES_PROGRAMS": str(server.programs),
            "PYTHONPATH": str(ROOT),
        }

    def revert(_: str, __: int) -> Sequence[str]:
        to = f"{migrations.FIRST:04}"
        return (sys.executable, "-m", "rollback", "db", "--to", to, "--yes", "--json")

    deploy = (sys.executable, "-m", "bench.database.deploy", str(folder / "ours"))
    return Contender(
        name="ours",
        version="",
        checks="scripts whole and unchanged, tried on a copy; backup verified; locks; "
        "what was destroyed against the plan; the schema against the recorded one",
        write=migrations.ours,
        deploy=lambda url, _: (*deploy, url),
        revert=revert,
        folder=folder / "ours",
        environment=environment,
    )


def _sqitch(program: str, folder: Path) -> Contender:
    def command(verb: str, *more: str) -> Command:
        return lambda url, _: (program, verb, *more, _uri(url, "db:pg"))

    return Contender(
        name="sqitch revert",
        version=run([program, "--version"], folder, {}).split()[-1],
        checks="that dependent changes go first; nothing after it",
        write=migrations.sqitch,
        deploy=command("deploy", "--no-verify"),
        revert=command("revert", "--to", f"m{migrations.FIRST:04}", "-y"),
        folder=folder / "sqitch",
        environment=lambda _: {"SQITCH_EMAIL": "b@example.com", "SQITCH_FULLNAME": "B"},
    )


def _alembic(python: Path, folder: Path) -> Contender:
    program = str(python.with_name("alembic"))
    return Contender(
        name="alembic downgrade",
        version=run([program, "--version"], folder, {}).split()[-1],
        checks="nothing; one transaction",
        write=migrations.alembic,
        deploy=lambda _, __: (program, "upgrade", "head"),
        revert=lambda _, __: (program, "downgrade", f"{migrations.FIRST:04}"),
        folder=folder / "alembic",
        environment=lambda url: {"BENCH_ALEMBIC_URL": _uri(url, "postgresql+psycopg2")},
    )


def _yoyo(python: Path, folder: Path) -> Contender:
    program = str(python.with_name("yoyo"))
    second = f"{migrations.FIRST + 1:04}"

    def command(verb: str, *more: str) -> Command:
        where = ("--no-config-file", "--batch")
        return lambda url, _: (
            *(program, verb, *where, *more, "-d", _uri(url, "postgresql"), "."),
        )

    return Contender(
        name="yoyo rollback",
        version=run([str(python), "-c", YOYO_VERSION], folder, {}).strip(),
        checks="nothing; a missing script counts as done",
        write=migrations.yoyo,
        deploy=command("apply"),
        revert=command("rollback", "--revision", second),
        folder=folder / "yoyo",
    )


def _golang(program: str, folder: Path) -> Contender:
    def command(*verb: str) -> Sequence[str]:
        return (program, "-path", ".", *verb)

    def database(url: str) -> Sequence[str]:
        return ("-database", f"{_uri(url, 'postgres')}?sslmode=disable")

    return Contender(
        name="golang-migrate down",
        version="4",
        checks="nothing",
        write=migrations.golang,
        deploy=lambda url, _: (*command(*database(url)), "up"),
        revert=lambda url, count: (*command(*database(url)), "down", str(count)),
        folder=folder / "golang",
    )


def _uri(url: str, scheme: str) -> str:
    facts = conninfo_to_dict(url)
    who = f"{facts['user']}:{facts['password']}"
    return f"{scheme}://{who}@{facts['host']}:{facts['port']}/{facts['dbname']}"


def _environment(folder: Path) -> Path:
    """An environment of the peers' own: they are no dependency of this project."""
    where = folder / "peers"
    venv.create(where, with_pip=True)
    python = where / "bin" / "python"
    run([str(python), "-m", "pip", "install", "--quiet", *PACKAGES], folder, {})
    return python


def _go_install(folder: Path) -> str | None:
    if (program := shutil.which("go")) is None:
        return None
    where = {"GOBIN": str(folder), "GOPATH": str(folder / "go")}
    # A module cache that is read-only could not be removed with the folder.
    flags = {"GOFLAGS": "-modcacherw"}
    try:
        run([program, "install", "-tags", "postgres", GOLANG], folder, where | flags)
    except (RuntimeError, subprocess.TimeoutExpired):
        return None
    return str(folder / "migrate")
