"""The same migrations in the form that each tool wants.

A table, a column and an index in turn; the first one is where all of them go back to.
"""

from dataclasses import dataclass
from pathlib import Path

__all__ = ["FIRST", "Migration", "alembic", "golang", "made", "ours", "sqitch", "yoyo"]

FIRST = 1
DAY = "2026-01-01T{hours:02}:{minutes:02}:00Z"

ENV = """
import os
from alembic import context
from sqlalchemy import create_engine, pool
engine = create_engine(os.environ["BENCH_ALEMBIC_URL"], poolclass=pool.NullPool)
with engine.connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""
REVISION = """
from alembic import op
revision = {name!r}
down_revision = {below!r}

def upgrade():
    op.execute({up!r})

def downgrade():
    op.execute({down!r})
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One migration and its way back; numbered from 1 on."""

    number: int
    up: str
    down: str

    @property
    def version(self) -> str:
        """As ours, yoyo and golang-migrate name it."""
        return f"{self.number:04}"


def made(count: int) -> tuple[Migration, ...]:
    """One to stay, and so many above it."""
    return tuple(_made(number) for number in range(FIRST, FIRST + count + 1))


def _made(number: int) -> Migration:
    table = f"t{(number - 1) // 3 * 3 + 1}"
    kinds = (
        (f"CREATE TABLE {table} (id bigint PRIMARY KEY)", f"DROP TABLE {table}"),
        (
            f"ALTER TABLE {table} ADD COLUMN note text",
            f"ALTER TABLE {table} DROP COLUMN note",
        ),
        (f"CREATE INDEX {table}_id ON {table} (id)", f"DROP INDEX {table}_id"),
    )
    up, down = kinds[(number - 1) % 3]
    return Migration(number=number, up=up, down=down)


def ours(folder: Path, migrations: tuple[Migration, ...]) -> None:
    """NNN.sql and rollback_NNN.sql."""
    for one in migrations:
        (folder / f"{one.version}.sql").write_text(f"{one.up};\n")
        (folder / f"rollback_{one.version}.sql").write_text(f"{one.down};\n")


def yoyo(folder: Path, migrations: tuple[Migration, ...]) -> None:
    """NNN.sql and NNN.rollback.sql, each after the one below."""
    for one in migrations:
        below = f"-- depends: {one.number - 1:04}\n" if one.number > FIRST else ""
        (folder / f"{one.version}.sql").write_text(f"{below}{one.up};\n")
        (folder / f"{one.version}.rollback.sql").write_text(f"{one.down};\n")


def golang(folder: Path, migrations: tuple[Migration, ...]) -> None:
    """NNN_name.up.sql and NNN_name.down.sql."""
    for one in migrations:
        (folder / f"{one.version}_m.up.sql").write_text(f"{one.up};\n")
        (folder / f"{one.version}_m.down.sql").write_text(f"{one.down};\n")


def alembic(folder: Path, migrations: tuple[Migration, ...]) -> None:
    """A revision each, in a line."""
    scripts = folder / "scripts"
    (scripts / "versions").mkdir(parents=True)
    (folder / "alembic.ini").write_text(
        "[alembic]\nscript_location = %(here)s/scripts\npath_separator = os\n"
    )
    (scripts / "env.py").write_text(ENV)
    for one in migrations:
        below = f"{one.number - 1:04}" if one.number > FIRST else None
        text = REVISION.format(name=one.version, below=below, up=one.up, down=one.down)
        (scripts / "versions" / f"m{one.version}.py").write_text(text)


def sqitch(folder: Path, migrations: tuple[Migration, ...]) -> None:
    """A plan with a change each, and a revert script in a transaction of its own."""
    lines = ["%syntax-version=1.0.0", "%project=bench", ""]
    for kind in ("deploy", "revert"):
        (folder / kind).mkdir()
    for one in migrations:
        below = f" [m{one.number - 1:04}]" if one.number > FIRST else ""
        at = DAY.format(hours=one.number // 60, minutes=one.number % 60)
        lines.append(f"m{one.version}{below} {at} Bench <bench@example.com> # one")
        for kind, text in (("deploy", one.up), ("revert", one.down)):
            script = f"BEGIN;\n{text};\nCOMMIT;\n"
            (folder / kind / f"m{one.version}.sql").write_text(script)
    (folder / "sqitch.plan").write_text("\n".join(lines) + "\n")
    (folder / "sqitch.conf").write_text("[core]\n\tengine = pg\n")
