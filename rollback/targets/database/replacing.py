"""What is around a restore in place: the schemas that make room, and the checks."""

from dataclasses import dataclass
from datetime import datetime

from psycopg import sql

from rollback.schema import Backup
from rollback.transactions import Connection

from .store import CLAIM
from .surroundings import Surroundings, granting, surroundings

__all__ = [
    "CLAIMED",
    "MARKS",
    "Replacing",
    "counted",
    "kept_name",
    "mark",
    "outside",
    "replacing",
]

LONGEST = 63
QUIET = sql.SQL("SET client_min_messages = error;")  # so that an error is said first
CLAIMED = "somebody else is rolling this schema back"
# Not after the others: what a rollback of the schema would change is renamed here.
CLAIMING = sql.SQL(
    "DO $$ BEGIN IF NOT pg_catalog.pg_try_advisory_xact_lock({}) THEN"
    " RAISE EXCEPTION {}; END IF; END $$;"
).format(sql.Literal(CLAIM), sql.Literal(CLAIMED))
MARKS = """
CREATE SCHEMA IF NOT EXISTS rollback;
CREATE TABLE IF NOT EXISTS rollback.restores (
    token       text        PRIMARY KEY,
    backup      text        NOT NULL,
    kept        text        NOT NULL,
    restored_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
"""
OWNERS = """
SELECT nspname AS name, pg_get_userbyid(nspowner) AS owner FROM pg_namespace
WHERE nspname = ANY(%(schemas)s) ORDER BY 1
"""
EXTENSIONS = """
SELECT e.extname AS name, n.nspname AS schema, e.extrelocatable AS moves
FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
WHERE n.nspname = ANY(%(schemas)s) ORDER BY 1
"""
# Triggers, foreign keys and views of other schemas that hang on what was put aside.
OUTSIDE = """
WITH aside AS (SELECT oid FROM pg_namespace WHERE nspname = ANY(%(kept)s)),
held AS (
    SELECT 'pg_class'::regclass AS class, oid FROM pg_class
    WHERE relnamespace IN (TABLE aside)
    UNION ALL SELECT 'pg_proc'::regclass, oid FROM pg_proc
    WHERE pronamespace IN (TABLE aside))
SELECT DISTINCT pg_describe_object(d.classid, d.objid, d.objsubid) AS name
FROM pg_depend d JOIN held h ON (h.class, h.oid) = (d.refclassid, d.refobjid)
LEFT JOIN pg_trigger t ON d.classid = 'pg_trigger'::regclass AND t.oid = d.objid
LEFT JOIN pg_constraint k ON d.classid = 'pg_constraint'::regclass AND k.oid = d.objid
LEFT JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
JOIN pg_class c ON c.oid = coalesce(t.tgrelid, k.conrelid, r.ev_class)
WHERE c.relnamespace NOT IN (TABLE aside) AND NOT coalesce(t.tgisinternal, false)
ORDER BY 1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replacing:
    """Which schemas make room for a backup's, and under which names they are kept.

    `owners` are those of the schemas that are there now, by their names.
    """

    renamed: tuple[tuple[str, str], ...]
    owners: tuple[tuple[str, str], ...]
    extensions: tuple[tuple[str, str], ...]
    around: Surroundings
    obstacle: str | None = None

    @property
    def kept(self) -> tuple[str, ...]:
        """The names under which what was there before is kept."""
        return tuple(name for _, name in self.renamed)

    def before(self, token: str, backup: Backup) -> str:
        """Mark the recovery, which fails where it was marked before; make room.

        It fails too, saying `CLAIMED`, while the schema is rolled back.
        """
        statements: list[sql.SQL | sql.Composed] = [
            QUIET,
            CLAIMING,
            sql.SQL(MARKS),
            mark(token, backup.name, ", ".join(self.kept)),
            *(
                sql.SQL("ALTER SCHEMA {} RENAME TO {};").format(
                    sql.Identifier(name), sql.Identifier(kept)
                )
                for name, kept in self.renamed
            ),
            *(
                sql.SQL("CREATE SCHEMA {} AUTHORIZATION {};").format(
                    sql.Identifier(name), sql.Identifier(owner)
                )
                for name, owner in self.owners
            ),
            *(
                sql.SQL("CREATE SCHEMA {};").format(sql.Identifier(name))
                for name in backup.schemas
                if name not in dict(self.owners)
            ),
            *(
                sql.SQL("ALTER EXTENSION {} SET SCHEMA {};").format(
                    sql.Identifier(extension), sql.Identifier(schema)
                )
                for extension, schema in self.extensions
            ),
        ]
        return _text(statements)

    def after(self, backup: Backup) -> str:
        """Count what was restored, and let it be used and published as it was."""
        granted = granting(self.around, backup.schemas)
        checks = [counted(each.table, each.rows) for each in backup.tables]
        published = [
            _attempted(
                sql.SQL("ALTER PUBLICATION {} ADD {}").format(
                    sql.Identifier(publication.name), sql.SQL(member)
                )
            )
            for publication in self.around.publications
            for member in publication.members
        ]
        return _text([QUIET, *checks, *granted, *published])


async def replacing(
    connection: Connection, schemas: tuple[str, ...], *, at: datetime
) -> Replacing:
    """Read what a restore of these schemas would replace."""
    asked = {"schemas": list(schemas)}
    owners = await (await connection.execute(OWNERS, asked)).fetchall()
    extensions = await (await connection.execute(EXTENSIONS, asked)).fetchall()
    fixed = [row["name"] for row in extensions if not row["moves"]]
    return Replacing(
        renamed=tuple((row["name"], kept_name(row["name"], at)) for row in owners),
        owners=tuple((row["name"], row["owner"]) for row in owners),
        extensions=tuple((row["name"], row["schema"]) for row in extensions),
        around=await surroundings(connection, schemas),
        obstacle=(
            f"The extension {', '.join(fixed)} cannot be moved out of the schemas that "
            "are to be replaced."
            if fixed
            else None
        ),
    )


async def outside(connection: Connection, kept: tuple[str, ...]) -> tuple[str, ...]:
    """What of other schemas hangs on what was put aside."""
    found = await connection.execute(OUTSIDE, {"kept": list(kept)})
    return tuple([row["name"] for row in await found.fetchall()])


def kept_name(name: str, at: datetime) -> str:
    """The name under which a schema or a database is kept; not cut by the server."""
    ending = f"_before_{at:%Y%m%d_%H%M%S}"
    return name.encode()[: LONGEST - len(ending)].decode(errors="ignore") + ending


def mark(token: str, backup: str, kept: str) -> sql.Composed:
    """The row that says that this recovery has restored; there can be one only."""
    return sql.SQL(
        "INSERT INTO rollback.restores (token, backup, kept) VALUES ({}, {}, {});"
    ).format(sql.Literal(token), sql.Literal(backup), sql.Literal(kept))


def counted(table: str, rows: int) -> sql.Composed:
    """Raise where the table has another number of rows, its name quoted already."""
    told = sql.Literal(f"{table} has % rows, and the backup had {rows}")
    body = sql.SQL(
        "DECLARE n bigint; BEGIN SELECT count(*) INTO n FROM ONLY {};"
        " IF n <> {} THEN RAISE EXCEPTION {}, n; END IF; END"
    ).format(sql.SQL(table), sql.Literal(rows), told)  # quoted by the server
    return sql.SQL("DO {};").format(sql.Literal(body.as_string()))


def _attempted(statement: sql.Composed) -> sql.Composed:
    """What may be there already, or concern a table that the backup does not have."""
    body = sql.SQL(
        "BEGIN EXECUTE {}; EXCEPTION WHEN OTHERS THEN RAISE WARNING '%', SQLERRM; END"
    ).format(sql.Literal(statement.as_string()))
    return sql.SQL("DO {};").format(sql.Literal(body.as_string()))


def _text(statements: list[sql.SQL | sql.Composed]) -> str:
    return "\n".join(statement.as_string() for statement in statements) + "\n"
