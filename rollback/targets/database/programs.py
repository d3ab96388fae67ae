"""PostgreSQL's own programs: pg_dump and pg_restore of the server's major version."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import anyio
from anyio import CancelScope, create_task_group, fail_after, move_on_after
from anyio.abc import ByteReceiveStream, Process
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from rollback.errors import BackupFailed, RollbackError
from rollback.transactions import with_keepalives

from .complaints import in_words

__all__ = ["Programs"]

USUAL_PLACES = (
    "/usr/lib/postgresql/{major}/bin",  # Debian, Ubuntu
    "/usr/pgsql-{major}/bin",  # Red Hat
    "/usr/libexec/postgresql{major}",  # Alpine
    "/opt/homebrew/opt/postgresql@{major}/bin",
    "/usr/local/opt/postgresql@{major}/bin",
    "/opt/homebrew/opt/libpq/bin",
    "/Applications/Postgres.app/Contents/Versions/{major}/bin",
)
ASK_SECONDS = 10
END_SECONDS = 3.0
STDERR_BYTES = 20_000
READ_BYTES = 256 * 1024

Take = Callable[[bytes], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Programs:
    """A folder with pg_dump and pg_restore, and their version."""

    folder: Path
    version: str

    @classmethod
    async def find(cls, folder: Path | None, major: int) -> "Programs":
        """Find those of the server's major version; an own folder is the only place.

        pg_dump cannot read a newer server, and what a newer one writes need not be
        readable by this server.

        Raises:
            BackupFailed: there are none, naming where was looked and what was found.

        """
        found: list[str] = []
        for place in _places(folder, major):
            version = await _version(place)
            if version is None:
                continue
            if int(version.split(".")[0]) == major:
                return cls(folder=place, version=version)
            found.append(f"{version} in {place}")
        raise _not_found(folder, major, found)

    async def run(
        self,
        program: str,
        *options: str,
        url: str | None = None,
        take: Take | None = None,
        failure: type[RollbackError] = BackupFailed,
    ) -> str:
        """Run one to its end and return what it said on stderr.

        `url` is the database that it works on: the password goes by the environment.
        `take` is given its output. When this is cancelled, it is ended first.

        Raises:
            RollbackError: `failure`, or DatabaseUnreachable, when it has failed.

        """
        target, environment, password = _address(url)
        argv = [str(self.folder / program), *options, *target]
        try:
            process = await anyio.open_process(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if take else subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env=environment,
            )
        except OSError as error:
            raise failure(f"{argv[0]} cannot be run: {error.strerror}.") from error
        said = _Tail()
        try:
            async with create_task_group() as tasks:
                tasks.start_soon(_read, process.stderr, said.add)
                if take:
                    tasks.start_soon(_read, process.stdout, take)
            code = await process.wait()
        finally:
            await _end(process)
        text = said.text()
        text = text.replace(password, "***") if password else text
        if code != 0:
            raise in_words(program, code, text, failure)
        return text


class _Tail:
    """The end of what was said: an error comes last."""

    def __init__(self) -> None:
        self._bytes = b""

    def add(self, chunk: bytes) -> None:
        self._bytes = (self._bytes + chunk)[-STDERR_BYTES:]

    def text(self) -> str:
        return self._bytes.decode(errors="replace").strip()


async def _read(stream: ByteReceiveStream | None, take: Take) -> None:
    if stream is None:
        return
    while True:
        try:
            chunk = await stream.receive(READ_BYTES)
        except anyio.EndOfStream:
            return
        take(chunk)


async def _end(process: Process) -> None:
    """Ask first: only then pg_dump ends its workers and their queries."""
    with CancelScope(shield=True):
        if process.returncode is None:
            process.terminate()
            with move_on_after(END_SECONDS):
                await process.wait()
        if process.returncode is None:
            process.kill()
        await process.aclose()


def _address(url: str | None) -> tuple[list[str], dict[str, str], str]:
    """The option that names the database, the environment, and the password in it."""
    environment = os.environ | {"LC_ALL": "C", "PGAPPNAME": "rollback"}
    environment.setdefault("PGCONNECT_TIMEOUT", "5")
    if url is None:
        return [], environment, ""
    facts = conninfo_to_dict(url)
    password = str(facts.pop("password", None) or "")
    if password:
        environment["PGPASSWORD"] = password
    if "sslpassword" in facts:
        raise BackupFailed(
            "The database's address holds an sslpassword, which pg_dump can only be "
            "given where everybody can read it.",
            mend="Use a key without a passphrase that its user alone can read.",
        )
    shown = make_conninfo("", **with_keepalives(facts))
    return ["--no-password", f"--dbname={shown}"], environment, password


def _places(folder: Path | None, major: int) -> tuple[Path, ...]:
    if folder is not None:
        return (folder,)
    on_path = shutil.which("pg_dump")
    first = (Path(on_path).parent,) if on_path else ()
    return (*first, *(Path(place.format(major=major)) for place in USUAL_PLACES))


async def _version(folder: Path) -> str | None:
    """The version of pg_dump there, where pg_restore is there too."""
    if not os.access(folder / "pg_restore", os.X_OK):
        return None
    try:
        with fail_after(ASK_SECONDS):
            said = await anyio.run_process(
                [str(folder / "pg_dump"), "--version"], stderr=subprocess.DEVNULL
            )
    except (OSError, subprocess.CalledProcessError, TimeoutError):
        return None
    match = re.search(rb"\(PostgreSQL\) (\d+(?:\.\d+)?)", said.stdout)
    return match[1].decode() if match else None


def _not_found(folder: Path | None, major: int, found: Sequence[str]) -> BackupFailed:
    where = str(folder) if folder else "on PATH and in the usual places"
    if found:
        seen = f"pg_dump is {', '.join(dict.fromkeys(found))} (looked in {where})"
    else:
        seen = f"there is no pg_dump with pg_restore (looked in {where})"
    return BackupFailed(
        f"The server is PostgreSQL {major}, and {seen}: a backup needs the same one.",
        mend=f"Install PostgreSQL {major}'s client programs, or name their folder in "
        "ROLLBACK_POSTGRES_PROGRAMS.",
    )
