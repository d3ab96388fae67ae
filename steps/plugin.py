"""The pytest side: the options, the practice stack, and what a drill may be asked."""

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from stack.backends import KINDS, Stack, StackError, start
from stack.backends.errors import UnknownStack

from .story import Book, Story

WRITES = ("drill.json", "drill.html", "junit.xml")
BOOK = pytest.StashKey[Book]()
STORY = pytest.StashKey[Story]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The contract's options, and what `rollback drill` asks for."""
    group = parser.getgroup("rollback")
    group.addoption("--stack", default="embedded", help="embedded or external")
    group.addoption("--stack-url", help="address of a site, for --stack external")
    group.addoption("--seed", type=int, default=0, help="drives load and faults")
    group.addoption("--report", type=Path, help="folder for drill.html and drill.json")
    group.addoption("--drill", action="store_true", help="tell the story as it happens")
    group.addoption("--until-eof", action="store_true", help="end when stdin is closed")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Clear away an old report, check the words given, open the book."""
    if config.getoption("--drill") and config.getoption("--report"):
        # Before pytest's own part reads it, and before any word can be refused.
        _clear(config.getoption("--report"))
        config.option.xmlpath = str(config.getoption("--report") / "junit.xml")
    _check(config)
    # A shell's background jobs are started deaf to it, and so would their children be.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if config.getoption("--until-eof"):
        threading.Thread(target=_end_with_stdin, daemon=True).start()
    config.stash[BOOK] = Book(
        listening=config.getoption("--drill"),
        seed=config.getoption("--seed"),
        stack=config.getoption("--stack"),
    )


def _clear(folder: Path) -> None:
    """So that a drill that writes nothing leaves nothing that could be its report."""
    try:
        for name in WRITES:
            (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise pytest.UsageError(
            f"The old report in {folder} cannot be removed ({error.strerror}). "
            "Choose another folder: --report DIR."
        ) from None


def _check(config: pytest.Config) -> None:
    stack = config.getoption("--stack")
    # A drill breaks things, and behind an address there is nothing to break.
    known = KINDS if config.getoption("--drill") else (*KINDS, "external")
    if stack not in known:
        raise pytest.UsageError(str(UnknownStack(stack, known)))
    if stack == "external" and not config.getoption("--stack-url"):
        raise pytest.UsageError(
            "--stack external needs the address of a site: add --stack-url URL."
        )


def _end_with_stdin() -> None:
    """Whoever holds the other end is gone: end as at Ctrl-C, with all clean-up."""
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGINT)


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Against an address there is nothing to break: only smoke tests run."""
    if config.getoption("--stack") != "external":
        return
    reason = "needs a practice stack, and --stack external has only an address"
    for item in items:
        if item.get_closest_marker("smoke") is None:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def book(request: pytest.FixtureRequest) -> Book:
    """The stories of this run."""
    return request.config.stash[BOOK]


@pytest.fixture(scope="session")
def stack(request: pytest.FixtureRequest, book: Book) -> Iterator[Stack]:
    """One practice stack for the whole run."""
    options = request.config.option
    try:
        with start(options.stack, seed=options.seed, progress=book.say) as running:
            book.notes.extend(running.notes)
            book.say(f"practice stack ready in {running.ready_seconds:.1f} s")
            yield running
    except StackError as error:
        pytest.exit(str(error), returncode=pytest.ExitCode.USAGE_ERROR)


@pytest.fixture(scope="session", autouse=True)
def _stack_first(request: pytest.FixtureRequest) -> None:
    """In a drill the stack is up before the first scenario is told."""
    if request.config.getoption("--drill"):
        request.getfixturevalue("stack")


@pytest.fixture
def fresh(stack: Stack) -> Stack:
    """The practice stack as it was after its start, with v2 live."""
    stack.reset(live="v2")
    return stack


@pytest.fixture
def site_url(request: pytest.FixtureRequest) -> str:
    """The address that visitors use: of the practice stack, or the one given."""
    given: str | None = request.config.getoption("--stack-url")
    if given:
        return given.rstrip("/")
    fresh: Stack = request.getfixturevalue("fresh")
    return fresh.addresses["edge"]


@pytest.fixture
def story(request: pytest.FixtureRequest) -> Story:
    """The story of the scenario that is running."""
    current: Story = request.node.stash[STORY]
    return current
