"""Everything that can go wrong, as one tree.

RollbackError
├── BadInput                    exit 2: nothing was changed
│   ├── SettingMissing
│   ├── SettingsInvalid
│   ├── UnknownDeployment
│   ├── UnknownIncident
│   ├── NoSuchPart
│   ├── UnknownFlag
│   ├── NothingSaved
│   ├── ReplayInvalid
│   ├── NotConfirmed
│   ├── LedgerOutdated
│   ├── NothingArchived
│   ├── UnknownBackup
│   └── NotACheckout
├── Unreachable                 exit 2: something that must answer does not
│   ├── LedgerUnreachable
│   ├── PlatformUnreachable
│   │   └── PlatformBusy
│   ├── PlatformDenied
│   ├── FlagsUnreachable
│   ├── KeysUnreachable
│   ├── DatabaseUnreachable
│   ├── SourceDown
│   └── ChannelDown
├── Refused                     exit 4: it cannot be done safely
│   ├── NoStableDeployment
│   ├── NotATarget
│   ├── AlreadyRollingBack
│   ├── CannotUndo
│   ├── FlagChanged
│   ├── SharedOutage
│   ├── BackupFailed
│   ├── SchemaRefused
│   │   ├── UnknownVersion
│   │   ├── NeedsConsent
│   │   ├── NotAsPlanned
│   │   └── LockNotTaken
│   └── SchemaBusy
└── StepFailed                  exit 5: started and not restored

A class's docstring is the message where none is given: first what is wrong, then
(`mend`) what to do. The exit codes are those of the command line.
"""

from typing import ClassVar

__all__ = [
    "AlreadyRollingBack",
    "BackupFailed",
    "BadInput",
    "CannotUndo",
    "ChannelDown",
    "DatabaseUnreachable",
    "FlagChanged",
    "FlagsUnreachable",
    "KeysUnreachable",
    "LedgerOutdated",
    "LedgerUnreachable",
    "LockNotTaken",
    "NeedsConsent",
    "NoStableDeployment",
    "NoSuchPart",
    "NotACheckout",
    "NotATarget",
    "NotAsPlanned",
    "NotConfirmed",
    "NothingArchived",
    "NothingSaved",
    "PlatformBusy",
    "PlatformDenied",
    "PlatformUnreachable",
    "Refused",
    "ReplayInvalid",
    "RollbackError",
    "SchemaBusy",
    "SchemaRefused",
    "SettingMissing",
    "SettingsInvalid",
    "SharedOutage",
    "SourceDown",
    "StepFailed",
    "UnknownBackup",
    "UnknownDeployment",
    "UnknownFlag",
    "UnknownIncident",
    "UnknownVersion",
    "Unreachable",
]


class RollbackError(Exception):
    """Something went wrong."""

    exit_code: ClassVar[int] = 2
    default_mend: ClassVar[str] = "Run again with -v to see where it happened."

    def __init__(self, message: str | None = None, *, mend: str | None = None) -> None:
        self.message = message or (type(self).__doc__ or "").strip()
        self.mend = mend or self.default_mend
        super().__init__(self.message)


class BadInput(RollbackError):
    """The input is not usable."""


class SettingMissing(BadInput):
    """A setting is missing."""

    def __init__(self, name: str, *, purpose: str) -> None:
        self.name = name
        super().__init__(
            f"{name} is not set: it is needed {purpose}.",
            mend=f"Set {name} in the environment, or in rollback.toml.",
        )


class SettingsInvalid(BadInput):
    """The settings cannot be read."""

    default_mend = "Correct it in rollback.toml or in the environment."


class UnknownDeployment(BadInput):
    """This deployment is not known."""

    def __init__(self, deployment: str, *, where: str) -> None:
        self.deployment = deployment
        super().__init__(
            f"The deployment {deployment} is not known {where}.",
            mend="Run `rollback history` to see the ones that are.",
        )


class NoSuchPart(BadInput):
    """The environment has no project of this part."""

    def __init__(self, part: str) -> None:
        super().__init__(
            f"There is no project of the part {part}.",
            mend="Name its project in the settings; the parts: application, api.",
        )


class UnknownIncident(BadInput):
    """This incident is not known."""

    default_mend = "Run `rollback incidents list` to see the ones that are."


class UnknownFlag(BadInput):
    """There is no such flag."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"There is no flag {name}: nothing was switched.",
            mend="Look at the fields of the hash feature_flags in Redis.",
        )


class NothingSaved(BadInput):
    """No state is saved for this flag."""

    default_mend = "Set the state that it shall have by hand, as you usually do."


class ReplayInvalid(BadInput):
    """The recorded counts cannot be read."""

    default_mend = (
        "Give CSV with a header, or JSON lines, with the columns "
        "second, requests, failed, slow, probes, unavailable."
    )


class NotConfirmed(BadInput):
    """This changes production and was not confirmed."""

    default_mend = "Confirm it on a terminal, or add --yes."


class NotACheckout(BadInput):
    """The practice stack and the drill run from a checkout, and this is none."""

    default_mend = "Change into a checkout of the repository and run it there."


class LedgerOutdated(BadInput):
    """The ledger's tables are missing or outdated, and its user may not mend that."""

    default_mend = (
        "Bring it up to date once: run `rollback doctor` with ROLLBACK_LEDGER_URL as "
        "the address of the tables' owner, who may create in the database."
    )


class NothingArchived(BadInput):
    """Nothing is archived of this version."""

    default_mend = "An archive is made when a rollback of the schema destroys values."


class UnknownBackup(BadInput):
    """There is no such backup, or it is not verified."""

    default_mend = "Look into ROLLBACK_BACKUPS; a verified one has a manifest.json."


class Unreachable(RollbackError):
    """Something that must answer does not."""


class LedgerUnreachable(Unreachable):
    """The ledger's database cannot be reached."""

    default_mend = "Check ROLLBACK_LEDGER_URL (or DATABASE_URL) and that it answers."

    def __init__(
        self,
        message: str | None = None,
        *,
        mend: str | None = None,
        failing: frozenset[str] = frozenset(),
    ) -> None:
        # The deployments that are known to be bad all the same: not told to it yet.
        self.failing = failing
        super().__init__(message, mend=mend)


class PlatformUnreachable(Unreachable):
    """The platform's API cannot be reached."""

    default_mend = "Check VERCEL_API_URL and the platform's status page."


class PlatformBusy(PlatformUnreachable):
    """The platform refused the request for now: it was certainly not taken.

    `wait_seconds` is how long it asks to wait, where it says so.
    """

    def __init__(self, message: str, *, wait_seconds: float | None = None) -> None:
        self.wait_seconds = wait_seconds
        super().__init__(message)


class PlatformDenied(Unreachable):
    """The platform refused the request."""

    default_mend = "Check VERCEL_TOKEN and its scope, the team and the project."


class FlagsUnreachable(Unreachable):
    """The store of the feature flags cannot be reached."""

    default_mend = "Check REDIS_URL and that Redis answers."


class KeysUnreachable(Unreachable):
    """The store of the caches cannot be reached."""

    default_mend = "Check REDIS_URL and that Redis answers."


class DatabaseUnreachable(Unreachable):
    """The application's database cannot be reached."""

    default_mend = "Check DATABASE_DIRECT_URL (or DATABASE_URL) and that it answers."


class SourceDown(Unreachable):
    """A source of measurements cannot be reached."""

    default_mend = "Check the source's address and credentials."


class ChannelDown(Unreachable):
    """A channel did not take the message."""

    default_mend = "Check the channel's address and credentials."


class Refused(RollbackError):
    """It cannot be done safely."""

    exit_code = 4


class NoStableDeployment(Refused):
    """No deployment other than the candidate is recorded as passing."""

    default_mend = (
        "Record one that you know to be good (`rollback record`, `rollback health`), "
        "or name it with --to and --override."
    )


class NotATarget(Refused):
    """The platform cannot roll back to this deployment."""

    default_mend = "Choose another with --to; `rollback history` lists them."


class AlreadyRollingBack(Refused):
    """This candidate is being rolled back already."""

    default_mend = "Follow it with `rollback incidents show`."


class CannotUndo(Refused):
    """This rollback cannot be undone."""

    default_mend = "Look at what is live now (`rollback stable`), and promote by hand."


class FlagChanged(Refused):
    """The flag was changed after it was switched off."""

    default_mend = "Look at its state in Redis; set by hand what it shall be."


class SharedOutage(Refused):
    """The stable deployment fails on the same dependency: a rollback cannot help."""

    default_mend = "Restore the dependency; both releases work again when it answers."


class BackupFailed(Refused):
    """The backup could not be taken, or does not verify: the schema stays as it is."""

    default_mend = "Mend what kept it, and run it again: nothing was changed."


class SchemaRefused(Refused):
    """The schema cannot be rolled back safely."""

    default_mend = "Mend what is named, and look again with `rollback db --plan`."


class UnknownVersion(SchemaRefused):
    """This version is not in the database's history of migrations."""

    default_mend = "Name one that is in it."


class NeedsConsent(SchemaRefused):
    """A person has to accept this first."""

    def __init__(self, message: str, *, accept: str) -> None:
        self.accept = accept
        super().__init__(message, mend=f"Accept it with --accept {accept}.")


class NotAsPlanned(SchemaRefused):
    """What the scripts did is not what was planned: nothing was committed."""

    default_mend = "Look again with `rollback db --plan`, and at what the scripts do."


class LockNotTaken(SchemaRefused):
    """The tables' locks could not be had: nothing was changed."""

    default_mend = "Wait for, or end, the session that is named; then run it again."


class SchemaBusy(Refused):
    """Somebody else is rolling this schema back."""

    default_mend = "Wait for it to end, and look again with `rollback db --plan`."


class StepFailed(RollbackError):
    """A step of the rollback failed."""

    exit_code = 5
    default_mend = (
        "See what was done with `rollback incidents show`; "
        "finish by hand where it stopped."
    )
