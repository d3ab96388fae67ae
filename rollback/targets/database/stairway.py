"""Every migration up, down and up again on a scratch database with rows in it.

What is compared is the schema *and* the values: a rollback script that runs without an
error proves nothing.
"""

from collections.abc import Sequence
from pathlib import Path

import anyio

from rollback.errors import SchemaRefused
from rollback.ports import Notice

from .climbing import Climber, Finding, Stair
from .ground import Ground
from .scratch import scratch
from .scripts import forward

__all__ = ["Finding", "Stair", "climb", "stairway", "told"]


async def climb(
    url: str,
    folder: Path,
    *,
    schemas: tuple[str, ...] = ("public",),
    seed: int = 0,
    notice: Notice = lambda _: None,
) -> tuple[Stair, ...]:
    """Take every migration of a folder up, down and up again; the oldest first.

    `url` is a database of a server on which scratch databases may be made; nothing is
    read from it or written to it. A migration is NNN.sql or NNN_name.sql, its way back
    rollback_NNN.sql; a seed_NNN.sql is run after it, before rows are made for the
    tables that have none. The same `seed` makes the same rows.

    Raises `DatabaseUnreachable`, and `SchemaRefused` when the folder holds no
    migrations or no scratch database can be made.
    """
    migrations = forward(folder)
    if not migrations:
        raise SchemaRefused(
            f"There are no migrations in {folder}.",
            mend="Name the folder that has NNN.sql and rollback_NNN.sql.",
        )
    versions = tuple(migrations)
    stairs: list[Stair] = []
    while len(stairs) < len(versions):
        async with scratch(url) as empty:
            ground = Ground.of(
                empty, migrations=migrations, schemas=schemas, seed=seed, notice=notice
            )
            await ground.begin()
            await _climb_on(Climber(ground=ground), versions, stairs)
    return tuple(stairs)


async def _climb_on(
    climber: Climber, versions: tuple[str, ...], stairs: list[Stair]
) -> None:
    """As far as the ground is clean: what one version left would spoil the next."""
    for version in versions[: len(stairs)]:
        await climber.rise(version)
    for version in versions[len(stairs) :]:
        stairs.append(await climber.stair(version))
        if any(finding.kind == "up" for finding in stairs[-1].findings):
            above = versions[len(stairs) :]
            stairs.extend(_not_tried(each, below=version) for each in above)
            return
        if not climber.clean:
            return


def _not_tried(version: str, *, below: str) -> Stair:
    sentence = f"It was not tried, as {below} cannot be applied."
    return Stair(version=version, findings=(Finding(kind="up", sentence=sentence),))


def told(stairs: Sequence[Stair]) -> str:
    """What is wrong with which version, in lines; the good ones are counted."""
    bad = [stair for stair in stairs if not stair.ok]
    good = len(stairs) - len(bad)
    lines = [f"{good} of {len(stairs)} migrations can be taken back."]
    for stair in bad:
        lines += ["", f"{stair.version}:"]
        for finding in stair.findings:
            lines.append(f"  {finding.sentence}")
            lines += (f"    {line}" for line in finding.lines)
    return "\n".join(lines)


def stairway(
    folder: str | Path,
    url: str,
    *,
    schemas: tuple[str, ...] = ("public",),
    seed: int = 0,
) -> None:
    """Raise `AssertionError`, saying why, when a migration cannot be taken back.

        from rollback.testing import stairway

        def test_every_migration_can_be_taken_back():
            stairway("migrations", "postgresql://postgres:postgres@localhost/postgres")

    Every migration goes up, down and up again on a scratch database with rows in it,
    and the schema and the values have to be what they were; `climb` tells more. The
    address is that of a server on which databases can be made, of the major version
    that production has. A script that begins with `-- rollback: none` and a reason is a
    point of no return, and passes.
    """

    async def run() -> tuple[Stair, ...]:
        return await climb(url, Path(folder), schemas=schemas, seed=seed)

    stairs = anyio.run(run)
    if not all(stair.ok for stair in stairs):
        raise AssertionError(told(stairs))
