"""Every migration up, down and up again on a scratch database with rows in it.

What is compared is the schema *and* the values: a rollback script that runs without an
error proves nothing.
"""

from dataclasses import dataclass
from pathlib import Path

from rollback.ports import Notice

__all__ = ["Finding", "Stair", "climb", "stairway"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What is wrong with one version, in a sentence, and line by line.

    `kind`: `script` (missing, empty, not usable), `up`, `down`, `again` (that way it
    fails), `schema` (not given back), `values` (lost or changed), `refill`, `seed`.
    """

    kind: str
    sentence: str
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Stair:
    """One version, taken up, down and up again.

    `no_return`: the reason that its script gives for being no way back; then nothing
    was tried. `values`: how many were compared. `warnings`: what proves less than it
    could, such as a table without rows. `archived`: values that the archive gave back.
    """

    version: str
    findings: tuple[Finding, ...] = ()
    warnings: tuple[str, ...] = ()
    no_return: str | None = None
    tables: int = 0
    values: int = 0
    archived: int = 0

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong with it; a point of no return is not wrong."""
        return not self.findings


async def climb(
    url: str,
    folder: Path,
    *,
    schemas: tuple[str, ...] = ("public",),
    seed: int = 0,
    notice: Notice = lambda _: None,
) -> tuple[Stair, ...]:
    """Take every migration of a folder up, down and up again; the oldest first.

    `url` is a database of a server on which a scratch database may be made; nothing is
    read from it or written to it. Raises `DatabaseUnreachable`, and `SchemaRefused`
    when the folder holds no migrations.
    """
    raise NotImplementedError((url, folder, schemas, seed, notice))


def stairway(
    folder: str | Path,
    url: str,
    *,
    schemas: tuple[str, ...] = ("public",),
    seed: int = 0,
) -> None:
    """Raise `AssertionError`, saying which, when a migration cannot be taken back."""
    raise NotImplementedError((folder, url, schemas, seed))
