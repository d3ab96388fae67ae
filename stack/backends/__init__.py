"""The backends of the practice stack: one face, whatever runs behind it."""

from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Protocol, Self

from stack.backends.errors import StackError, UnknownStack
from stack.faults import Faults

__all__ = ["KINDS", "Progress", "Stack", "StackError", "start"]

Progress = Callable[[str], None]
KINDS = ("embedded",)


class Stack(Protocol):
    """A practice stack that runs until it is closed."""

    @property
    def kind(self) -> str:
        """The backend's name."""

    @property
    def seed(self) -> int:
        """What decided everything random."""

    @property
    def ready_seconds(self) -> float:
        """How long the start took."""

    @property
    def addresses(self) -> Mapping[str, str]:
        """Where each part is, by the names of CONTRACT.md; none through the proxy."""

    @property
    def environment(self) -> Mapping[str, str]:
        """The settings that point the ``rollback`` command at this stack."""

    @property
    def deployments(self) -> Mapping[str, str]:
        """The deployment id of each release that is there: first ``v1`` and ``v2``."""

    @property
    def git_shas(self) -> Mapping[str, str]:
        """The commit of each release."""

    @property
    def deployment_urls(self) -> Mapping[str, str]:
        """The address of each release's deployment, behind the bypass secret."""

    @property
    def notes(self) -> Sequence[str]:
        """What is worth knowing of this machine, such as which Redis it has."""

    @property
    def faults(self) -> Faults:
        """What breaks it."""

    def deploy(self, release: str = "v3") -> None:
        """Deploy a release that is not there at start, with its schema; wait for it.

        It goes live, unless a rollback has switched that off. ``reset`` takes it back.

        Raises:
            KeyError: there is no such release.
            StackError: a part of the stack does not answer.

        """

    def reset(self, live: str = "v2") -> None:
        """Go back to the state after start, with this release live.

        Raises:
            StackError: a part of the stack does not answer.

        """

    def logs(self, name: str) -> str:
        """Give all that a server has written so far.

        Raises:
            KeyError: there is no server of that name.

        """

    def check(self) -> None:
        """See that every server still runs.

        Raises:
            StackError: one does not; its log is in the message.

        """

    def close(self) -> None:
        """End everything; again is harmless."""

    def __enter__(self) -> Self:
        """Give the stack itself."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""


def start(
    kind: str = "embedded",
    *,
    seed: int | None = None,
    progress: Progress = lambda _: None,
    edge_port: int | None = None,
) -> Stack:
    """Start a stack and wait until it is ready; ``progress`` is told on the way.

    Raises:
        StackError: it cannot be had; the message says why and what to do.

    """
    if kind not in KINDS:
        raise UnknownStack(kind, KINDS)
    from stack.backends.embedded import EmbeddedStack  # noqa: PLC0415 - only the backend that is wanted is loaded

    return EmbeddedStack.start(seed=seed, progress=progress, edge_port=edge_port)
