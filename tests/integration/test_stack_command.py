"""``python -m stack`` ends clean, however it is ended, and says what is wrong."""

import json
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from stack.backends.world import ROOT

from .processes import descendants, gone, until

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="processes are counted in /proc"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A stack in a process of its own, as a terminal or a pipeline has it."""

    process: "subprocess.Popen[str]"
    said: dict[str, Any]
    pids: dict[int, str]
    folder: Path


@contextmanager
def running(*options: str, **fields: Any) -> Iterator[Running]:
    """Start the command and wait until it is ready; in the end its exit is awaited."""
    with command("--json", "--until-eof", *options, **fields) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, told(process)
        said = json.loads(line)
        folder = next(n for n in said["notes"] if n.startswith("Logs")).split()[-1]
        pids = descendants(process.pid)
        yield Running(process=process, said=said, pids=pids, folder=Path(folder))


@contextmanager
def command(*options: str, **fields: Any) -> Iterator["subprocess.Popen[str]"]:
    """Start the command in a process group of its own; kill it if the test fails."""
    with subprocess.Popen(  # noqa: S603 - this checkout's own command
        [fields.pop("python", sys.executable), "-m", "stack", *options],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **fields,
    ) as process:
        try:
            yield process
        except BaseException:
            process.kill()
            raise


def told(process: "subprocess.Popen[str]") -> str:
    """Wait for the end of the command, stdin open, and give what it told people."""
    assert process.stderr is not None
    return process.stderr.read()


def nothing_is_left(stack: Running) -> None:
    """No process, no file, no shared memory."""
    assert len(stack.pids) > 8, "the servers were seen"
    until(lambda: all(map(gone, stack.pids)), f"gone: {stack.pids}")
    until(lambda: not stack.folder.exists(), f"{stack.folder} removed")
    segments = Path("/proc/sysvipc/shm").read_text().splitlines()[1:]
    assert not {int(line.split()[4]) for line in segments} & set(stack.pids)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ending", "code"),
    [
        (signal.SIGINT, 130),
        (signal.SIGTERM, 0),
        (signal.SIGHUP, 0),
        (signal.SIGKILL, -signal.SIGKILL),
    ],
)
def test_a_signal_leaves_nothing(ending: signal.Signals, code: int) -> None:
    """Ctrl-C and other signals, SIGKILL too, leave no process, file or memory."""
    with running() as stack:
        os.killpg(stack.process.pid, ending)

    assert stack.process.returncode == code
    nothing_is_left(stack)


@pytest.mark.slow
def test_end_of_file_leaves_nothing() -> None:
    """With --until-eof, the death of the program that started it ends the stack."""
    with running() as stack:
        assert stack.process.stdin is not None
        stack.process.stdin.close()

    assert stack.process.returncode == 0
    nothing_is_left(stack)


@pytest.mark.slow
def test_a_killed_warden_leaves_nothing() -> None:
    """If the warden is killed the command says so and ends, with every server."""
    with running() as stack:
        warden = next(pid for pid, line in stack.pids.items() if "warden" in line)
        os.kill(warden, signal.SIGKILL)
        error = told(stack.process)

    assert stack.process.returncode == 2
    assert "The warden was killed" in error
    assert "Traceback" not in error
    nothing_is_left(stack)


@pytest.mark.slow
def test_a_lost_server_is_told() -> None:
    """A server that ends on its own ends the command with its name and log."""
    with running() as stack:
        # Not Redis: fakeredis ends otherwise than a real server, and logs nothing.
        proxy = next(p for p, line in stack.pids.items() if "stack.toxiproxy" in line)
        os.kill(proxy, signal.SIGTERM)
        error = told(stack.process)

    assert stack.process.returncode == 2
    assert "toxiproxy ended by itself with code 0" in error
    assert re.search(r"^toxiproxy \S+ with seed \d+$", error, re.MULTILINE)
    nothing_is_left(stack)


@pytest.mark.slow
def test_interrupted_start_leaves_nothing() -> None:
    """Ctrl-C while servers are starting ends those that had been started."""
    with command() as process:
        until(
            lambda: "postgres" in " ".join(descendants(process.pid).values()), "begun"
        )
        pids = descendants(process.pid)
        os.killpg(process.pid, signal.SIGINT)
        error = told(process)

    assert process.returncode == 130
    assert "Traceback" not in error
    until(lambda: all(map(gone, pids)), "every server gone")


@pytest.mark.slow
def test_prints_the_contract() -> None:
    """The line has what the contract names, at the port and from the seed asked for."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with running("--port", str(port), "--seed", "3") as stack:
        stack.process.terminate()

    said = stack.said
    assert said["addresses"]["edge"] == f"http://127.0.0.1:{port}"
    assert said["environment"]["VERCEL_API_URL"] == said["addresses"]["platform"]
    names = {"v1", "v2", "blue", "green"}
    assert (said["seed"], set(said["deployments"])) == (3, names)
    assert said["ready_seconds"] > 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--stack", "cloud"), "There is no stack called 'cloud'."),
        (("--port", "{occupied}"), "Port {occupied} cannot be used"),
        (("--port", "99999"), "Port 99999 cannot be used"),
    ],
)
def test_bad_input(options: tuple[str, ...], said: str) -> None:
    """Bad input is one clear line and exit 2, and nothing is started."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with command(*(each.format(occupied=port) for each in options)) as process:
            output, error = process.communicate()

    assert process.returncode == 2
    assert output == ""
    assert error.startswith(said.format(occupied=port))
    assert len(error.splitlines()) == 1


@pytest.fixture
def others_python() -> Iterator[Path]:
    """This interpreter, copied with its library to where every account can run it."""
    with tempfile.TemporaryDirectory(dir="/tmp") as scratch:
        Path(scratch).chmod(0o755)
        library = Path(sysconfig.get_path("stdlib"))
        skip = shutil.ignore_patterns("test", "site-packages", "config-*")
        target = Path(scratch) / "lib" / library.name
        shutil.copytree(library, target, symlinks=True, ignore=skip)
        for shared in library.parent.glob("libpython*.so*"):
            shutil.copy2(shared, target.parent, follow_symlinks=False)
        (Path(scratch) / "bin").mkdir()
        yield Path(shutil.copy2(os.path.realpath(sys.executable), f"{scratch}/bin"))


@pytest.mark.slow
def test_runs_unprivileged(others_python: Path) -> None:
    """An account without a home and without rights starts and ends the stack too."""
    account = pwd.getpwnam("nobody")
    environment = {
        "HOME": account.pw_dir,
        "LD_LIBRARY_PATH": str(others_python.parents[1] / "lib"),
        "PATH": os.defpath,
        "PYTHONPATH": sysconfig.get_path("purelib"),
    }
    who: dict[str, Any] = {}
    if os.getuid() == 0:
        who = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    if not can_read(ROOT / "stack", environment["PYTHONPATH"], **who):
        pytest.skip("this checkout or its packages cannot be read by others")

    with running(python=str(others_python), env=environment, **who) as stack:
        os.killpg(stack.process.pid, signal.SIGKILL)

    nothing_is_left(stack)


def can_read(*folders: str | Path, **who: Any) -> bool:
    """Whether an account can list the folders."""
    listing = ["/bin/ls", *folders]
    done = subprocess.run(listing, **who, capture_output=True, check=False)  # noqa: S603 - as it stands above
    return done.returncode == 0
