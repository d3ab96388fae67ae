"""The warden ends what it started and removes what it owns, whoever dies first."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from stack.backends.processes import NOT_STARTED, ROOT, Processes, WardenLost
from stack.warden import Server

SLEEP = "import time; time.sleep(600)"
DEAF = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("deaf", flush=True)
time.sleep(600)
"""
TELL = """
import pathlib, signal, sys, time
heard = pathlib.Path(sys.argv[1])
def tell(number, _):
    with heard.open("a") as file:
        print(number, file=file)
    if number == signal.SIGTERM:
        raise SystemExit
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, tell)
heard.touch()
time.sleep(600)
"""
# A runner of its own, so that it can be killed: two servers, then what argv[3] says.
RUNNER = f"""
import json, signal, sys, time
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup it would be deaf to it
from pathlib import Path
from stack.backends.processes import Processes
from stack.warden import Server

folder, heard, last = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
with Processes() as processes:
    processes.own(folder)
    for name, code in {{"deep": {SLEEP!r}, "tell": {TELL!r}}}.items():
        argv = [sys.executable, "-c", code, str(heard)]
        log = str(folder / name)
        processes.spawn(Server(name=name, argv=argv, env={{}}, cwd="/", log=log))
    while len(processes.pids) < 3 or not heard.exists():
        time.sleep(0.01)
    print(json.dumps(processes.pids), flush=True)
    exec(last)
"""

# Dropping privileges undoes what makes a child die with its parent: root tries both.
ACCOUNTS = [None] if os.getuid() else [None, (65534, 65534)]


@pytest.fixture
def processes() -> Iterator[Processes]:
    """A warden, ended after the test."""
    with Processes() as started:
        yield started


@pytest.fixture
def server(tmp_path: Path) -> Callable[..., Server]:
    """Make a server out of a name, some Python and other fields."""

    def make(name: str, code: str, *argv: str, **fields: Any) -> Server:
        return Server(
            name=name,
            argv=[sys.executable, "-c", code, *argv],
            env={},
            cwd="/",
            log=str(tmp_path / f"{name}.log"),
            **fields,
        )

    return make


def until(condition: Callable[[], bool], what: str, seconds: float = 20.0) -> None:
    """Wait for a condition, or fail with what was waited for."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def gone(pid: int) -> bool:
    """Whether a process has ended; where nobody collects orphans, a zombie has."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z"


def started(processes: Processes, name: str) -> int:
    """Wait until a server was started and give its process id."""
    until(lambda: name in processes.pids, f"{name} started")
    return processes.pids[name]


@contextmanager
def runner(tmp_path: Path, last: str) -> Iterator["subprocess.Popen[str]"]:
    """Start a runner as a terminal does; kill it if the test fails."""
    folder = tmp_path / "owned"
    folder.mkdir()
    with subprocess.Popen(  # noqa: S603 - this interpreter and the script above
        [sys.executable, "-c", RUNNER, str(folder), str(tmp_path / "heard"), last],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        except BaseException:
            process.kill()
            raise


def pids_of(process: "subprocess.Popen[str]") -> list[int]:
    """Read the process ids that a runner prints once its servers run."""
    assert process.stdout is not None
    return list(json.loads(process.stdout.readline()).values())


def all_ended(pids: list[int], tmp_path: Path) -> None:
    """No process of a runner and nothing of its folder is left."""
    until(lambda: all(map(gone, pids)), f"processes {pids} gone")
    until(lambda: not (tmp_path / "owned").exists(), "the owned folder removed")


def test_tells_of_an_ending(
    processes: Processes, server: Callable[..., Server]
) -> None:
    """A server's exit code and output are known to the runner."""
    exiting = server("exiting", "print('so long'); raise SystemExit(3)")

    processes.spawn(exiting)

    assert processes.wait("exiting", 10) == 3
    assert Path(exiting.log).read_text() == "so long\n"


def test_tells_of_a_failed_start(
    processes: Processes, server: Callable[..., Server], tmp_path: Path
) -> None:
    """A program that does not exist is told by name, and the warden stays."""
    log = str(tmp_path / "log")
    processes.spawn(Server(name="no", argv=["/no/such"], env={}, cwd="/", log=log))

    assert processes.wait("no", 10) == NOT_STARTED
    assert "/no/such" in processes.error("no")

    processes.spawn(server("next", "pass"))

    assert processes.wait("next", 10) == 0


def test_refuses_a_second_of_one_name(
    processes: Processes, server: Callable[..., Server]
) -> None:
    """A name stands for one process: a second start does not lose the first."""
    processes.spawn(server("one", SLEEP))
    first = started(processes, "one")
    processes.spawn(server("one", SLEEP))

    assert processes.wait("one", 10) == NOT_STARTED
    assert not gone(first)


def test_stops_one_alone(processes: Processes, server: Callable[..., Server]) -> None:
    """One server is stopped, by its own signal, and the other runs on."""
    processes.spawn(server("one", SLEEP, stop_signal=signal.SIGINT))
    processes.spawn(server("other", SLEEP))
    other = started(processes, "other")

    processes.stop("one")

    assert processes.exit_code("one") in {-signal.SIGINT, 1}  # 1: KeyboardInterrupt
    assert not gone(other)


def test_climbs_the_ladder(processes: Processes, server: Callable[..., Server]) -> None:
    """A server that is deaf to SIGTERM is killed."""
    deaf = server("deaf", DEAF)
    processes.spawn(deaf)
    started(processes, "deaf")
    until(lambda: Path(deaf.log).read_text() != "", "the server deaf")

    processes.stop("deaf")

    assert processes.exit_code("deaf") == -signal.SIGKILL


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL, signal.SIGHUP])
def test_dead_runner_leaves_nothing(tmp_path: Path, ending: signal.Signals) -> None:
    """However the runner is killed, its servers and its folder go."""
    with runner(tmp_path, SLEEP) as process:
        pids = pids_of(process)
        process.send_signal(ending)

    assert -ending == process.returncode
    all_ended(pids, tmp_path)


def test_failed_runner_leaves_nothing(tmp_path: Path) -> None:
    """An exception in the runner ends all before it reaches the top."""
    with runner(tmp_path, "raise ValueError") as process:
        pids = pids_of(process)

    assert process.returncode == 1
    all_ended(pids, tmp_path)


def test_ctrl_c_is_for_the_runner_alone(tmp_path: Path) -> None:
    """Ctrl-C reaches the runner's group; servers are asked to end by the warden."""
    with runner(tmp_path, SLEEP) as process:
        pids = pids_of(process)
        os.killpg(process.pid, signal.SIGINT)

    all_ended(pids, tmp_path)
    assert f"{signal.SIGTERM:d}\n" == (tmp_path / "heard").read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel tells on Linux alone")
@pytest.mark.parametrize("account", ACCOUNTS)
def test_dead_warden_leaves_nothing(
    processes: Processes,
    server: Callable[..., Server],
    tmp_path: Path,
    account: tuple[int, int] | None,
) -> None:
    """A killed warden takes its servers along, and the runner removes the folder."""
    folder = tmp_path / "owned"
    folder.mkdir()
    processes.own(folder)
    sleeper = Server(
        name="sleeper",
        argv=["/bin/sleep", "600"],
        env={},
        cwd="/",
        log=str(folder / "log"),
        uid_gid=account,
    )
    processes.spawn(sleeper)
    pid = started(processes, "sleeper")

    os.kill(processes.pids["warden"], signal.SIGKILL)

    until(lambda: gone(pid), "the server gone")
    with pytest.raises(WardenLost):
        processes.wait("sleeper", 10)
    with pytest.raises(WardenLost):
        processes.spawn(server("late", SLEEP))
    processes.close()
    assert not folder.exists()


def test_sweeps_what_is_abandoned(processes: Processes, tmp_path: Path) -> None:
    """A folder whose owner was killed is swept when old; one in use or new is not."""
    for name in ("abandoned", "used", "new"):
        (tmp_path / f"stack-{name}").mkdir()
    for name in ("abandoned", "used"):
        os.utime(tmp_path / f"stack-{name}", (0, 0))

    with Processes() as sweeping:
        processes.own(tmp_path / "stack-used")
        until(lambda: locked(tmp_path / "stack-used"), "the folder owned")
        sweeping.sweep(f"{tmp_path}/stack-*")

    assert {"stack-used", "stack-new"} == {p.name for p in tmp_path.iterdir()}


def locked(folder: Path) -> bool:
    """Whether a warden holds the folder."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
