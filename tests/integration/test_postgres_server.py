"""PostgreSQL's programs are found, or brought, where they can be run."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from stack.backends import postgres
from stack.backends.errors import NoAccount, NotInstalled

NOBODY = (65534, 65534)
only_root = pytest.mark.skipif(
    os.getuid() != 0, reason="only root drops to another account"
)


@pytest.fixture
def private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installation in a folder that others cannot enter, as under root's home."""
    installed = postgres.find_programs(None).parents[1]
    site = tmp_path / "site"
    skip = shutil.ignore_patterns("include", "pginstall")
    shutil.copytree(installed, site / installed.name, symlinks=True, ignore=skip)
    libraries = installed.with_name(f"{installed.name}.libs")
    if libraries.exists():
        shutil.copytree(libraries, site / libraries.name)
    tmp_path.chmod(0o700)
    monkeypatch.syspath_prepend(site)
    return site / installed.name


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache folder that others can enter, in place of the machine's."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        monkeypatch.setattr(postgres, "_caches", lambda: iter([Path(folder)]))
        yield Path(folder)


def version(programs: Path, account: tuple[int, int]) -> str:
    """What PostgreSQL says of itself when the account runs it."""
    uid, gid = account
    return subprocess.run(  # noqa: S603 - PostgreSQL's own program
        [programs / "postgres", "--version"],
        user=uid,
        group=gid,
        extra_groups=[],
        check=True,
        capture_output=True,
        text=True,
    ).stdout


def test_finds_version_18() -> None:
    """The wheel carries two major versions; the newer one serves."""
    programs = postgres.find_programs(None)

    output = subprocess.check_output([programs / "postgres", "--version"], text=True)  # noqa: S603 - PostgreSQL's own program

    assert output.startswith("postgres (PostgreSQL) 18.")


def test_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the wheel the error names it."""
    monkeypatch.setattr(postgres, "PACKAGE", "no_such_wheel")

    with pytest.raises(NotInstalled, match="no_such_wheel is not installed"):
        postgres.find_programs(None)


@only_root
def test_copies_out_of_a_private_checkout(private: Path, cache: Path) -> None:
    """Root's private installation is copied once to where the account can run it."""
    programs = postgres.find_programs(NOBODY)

    assert programs.is_relative_to(cache)
    assert "(PostgreSQL) 18." in version(programs, NOBODY)

    shutil.rmtree(private)
    (private / "pginstall18" / "bin").mkdir(parents=True)
    (private / "__init__.py").touch()
    assert postgres.find_programs(NOBODY) == programs, "the second start copies nothing"


@only_root
@pytest.mark.usefixtures("private")
def test_two_copy_at_once(cache: Path) -> None:
    """Of two starts at once the later one takes what the earlier one has copied."""
    scratches = []

    def copy_twice(package: Path, site: Path) -> None:
        scratches.append(site)
        if len(scratches) == 1:
            postgres.find_programs(NOBODY)
        real(package, site)

    real = postgres._copy
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(postgres, "_copy", copy_twice)
        programs = postgres.find_programs(NOBODY)

    assert len(scratches) == 2
    assert "(PostgreSQL) 18." in version(programs, NOBODY)
    assert [path.name for path in cache.iterdir()] == [programs.parents[2].name]


@only_root
def test_nowhere_to_copy(private: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root without any folder that others can enter is told to be somebody else."""
    hidden = private.parents[1] / "cache"
    hidden.mkdir()
    monkeypatch.setattr(postgres, "_caches", lambda: iter([hidden]))

    with pytest.raises(NoAccount, match="as an ordinary user instead of root"):
        postgres.find_programs(NOBODY)


def test_runs_as_ourselves_unless_root() -> None:
    """An account is looked for only where PostgreSQL would refuse ours."""
    assert (postgres.find_account() is None) == (os.getuid() != 0)
