"""Archived values go back, all at once where they can, else in ever smaller parts."""

from dataclasses import dataclass, field

from psycopg import Error, sql
from psycopg.errors import LockNotAvailable, QueryCanceled

from rollback.schema import LeftOver
from rollback.transactions import Connection

from .parting import PART, Source, array, default_of, lay_out
from .running import AGAIN, lost
from .since import untouched
from .store import shown

__all__ = ["Outcome", "put_back"]

KEYS_SHOWN = 20
# So many parts are tried. What is left of a part that fails then is reported whole, and
# stays in the archive.
TRIES = 5000
_GONE = "the row that it belongs to is not there"
_CONVERTED = "the column has another type, in which it would not be the same value"
_NOT_TAKEN = "the table did not take it, and did not say why: a rule is on it"


@dataclass(slots=True)
class Outcome:
    """What became of the rows of one archive, or of one statement in it."""

    put_back: int = 0
    already: int = 0
    newer: int = 0
    left: list[LeftOver] = field(default_factory=list)

    @property
    def left_over(self) -> int:
        """How many could not go back."""
        return sum(one.rows for one in self.left)

    def add(self, other: "Outcome") -> None:
        """Count both together."""
        self.put_back += other.put_back
        self.already += other.already
        self.newer += other.newer
        known = {one.reason: one for one in self.left}
        for one in other.left:
            before = known.get(one.reason, LeftOver(reason=one.reason, rows=0))
            known[one.reason] = LeftOver(
                reason=one.reason,
                rows=before.rows + one.rows,
                keys=(*before.keys, *one.keys)[:KEYS_SHOWN],
            )
        self.left = list(known.values())


async def put_back(connection: Connection, what: Source) -> Outcome:
    """Put back what may go back, and tell of the rest."""
    await lay_out(connection, what)
    while (await _counts(connection)).get("do"):
        put = await _pass(connection, what)
        await _without_a_place(connection, what)
        if not put or not (await _counts(connection)).get("failed"):
            break
        # What failed may have needed a row that is there now.
        await connection.execute(
            sql.SQL("UPDATE {} SET state = 'do' WHERE state = 'failed'").format(PART)
        )
    done = await _counts(connection)
    return Outcome(
        put_back=done.get("put", 0),
        already=done.get("already", 0),
        newer=done.get("newer", 0),
        left=await _left(connection),
    )


async def _without_a_place(connection: Connection, what: Source) -> None:
    """Those that found no free row: theirs was written since, or it is not there.

    Of rows that share what names them, so many are there as were not accounted for.
    """
    if what.inserts:
        text = sql.SQL(
            "UPDATE {part} SET state = 'failed', reason = {reason} WHERE state = 'do'"
        ).format(part=PART, reason=sql.Literal(_NOT_TAKEN))
    else:
        text = sql.SQL(
            "UPDATE {part} a SET state = CASE WHEN l.place <= coalesce(t.times, 0)"
            " - l.others THEN 'newer' ELSE 'gone' END FROM (SELECT number, key,"
            " row_number() OVER (PARTITION BY key, state ORDER BY number) AS place,"
            " count(*) FILTER (WHERE state IN ('put', 'already', 'newer', 'failed'))"
            " OVER (PARTITION BY key) AS others, state FROM {part}) l"
            " LEFT JOIN (SELECT {at} AS at, count(*) AS times FROM {table} GROUP BY 1)"
            " t ON t.at = l.key WHERE a.number = l.number AND l.state = 'do'"
        ).format(part=PART, at=array(what.key), table=what.target.identifier)
    await connection.execute(text)


async def _counts(connection: Connection) -> dict[str, int]:
    cursor = await connection.execute(
        sql.SQL("SELECT state, count(*) AS rows FROM {} GROUP BY 1").format(PART)
    )
    return {row["state"]: int(row["rows"]) for row in await cursor.fetchall()}


async def _pass(connection: Connection, what: Source) -> int:
    """Every row that is to go back, in parts that are halved where they fail."""
    cursor = await connection.execute(
        sql.SQL(
            "SELECT min(number) AS low, max(number) AS high FROM {} WHERE state = 'do'"
        ).format(PART)
    )
    bounds = await cursor.fetchone() or {}
    parts, put, tries = [(int(bounds["low"]), int(bounds["high"]))], 0, 0
    while parts:
        low, high = parts.pop()
        tries += 1
        rows, reason = await _try(connection, what, low, high)
        put += rows
        if reason is None:
            continue
        if low == high or tries >= TRIES:
            await _fail(connection, low, high, reason)
        else:
            middle = (low + high) // 2
            parts += [(middle + 1, high), (low, middle)]
    return put


async def _try(
    connection: Connection, what: Source, low: int, high: int
) -> tuple[int, str | None]:
    """How many rows went back; or nothing did, and why."""
    # No parameters: a default may hold a percent sign.
    bounds = sql.Literal(low), sql.Literal(high)
    query = _insert(what, *bounds) if what.inserts else _update(what, *bounds)
    try:
        async with connection.transaction():
            # Its line is of the same transaction as the rows: by that they are known.
            await connection.execute("INSERT INTO rollback.refills DEFAULT VALUES")
            done = await connection.execute(query)
            return done.rowcount, None
    except (*AGAIN, QueryCanceled, LockNotAvailable):
        raise
    except Error as error:
        if lost(error):
            raise
        return 0, (error.diag.message_primary or str(error)).rstrip(".")


async def _fail(connection: Connection, low: int, high: int, reason: str) -> None:
    await connection.execute(
        sql.SQL(
            "UPDATE {} SET state = 'failed', reason = %(reason)s"
            " WHERE state = 'do' AND number BETWEEN %(low)s AND %(high)s"
        ).format(PART),
        {"low": low, "high": high, "reason": reason},
    )


def _insert(what: Source, low: sql.Literal, high: sql.Literal) -> sql.Composed:
    """All of them, or an error; what is marked is what was inserted."""
    return sql.SQL(
        "WITH put AS (INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE"
        " SELECT {values} FROM {part} a"
        " WHERE state = 'do' AND number BETWEEN {low} AND {high}"
        " RETURNING 1), rows AS (SELECT count(*) AS put FROM put)"
        " UPDATE {part} SET state = 'put' WHERE number IN (SELECT number FROM {part}"
        " WHERE state = 'do' AND number BETWEEN {low} AND {high}"
        " ORDER BY number LIMIT (SELECT put FROM rows))"
    ).format(
        table=what.target.identifier,
        columns=sql.SQL(", ").join(sql.Identifier(c.name) for c in what.columns),
        values=sql.SQL(", ").join(
            _value(at, column.base) for at, column in enumerate(what.columns, 1)
        ),
        part=PART,
        low=low,
        high=high,
    )


def _update(what: Source, low: sql.Literal, high: sql.Literal) -> sql.Composed:
    """A row is set only while it is what it was when it was looked at."""
    names = [column.name for column in what.columns]
    mine: sql.Composable
    free: sql.Composable
    if what.whole:
        there, mine, free = array(names), sql.SQL("a.written"), untouched(what.applied)
    elif what.unique:
        there, free = array([*what.key, *names]), untouched(what.applied)
        mine = sql.SQL("a.key || a.now")
    else:
        there, mine, free = array(what.key), sql.SQL("a.key"), _free(what)
    # A column that only the server may set can have changed no value.
    settable = [(at, c) for at, c in enumerate(what.columns, 1) if c.identity != "a"]
    return sql.SQL(
        "WITH put AS (UPDATE {table} t SET {values}"
        " FROM (SELECT t.o, t.c, a.vals, a.number FROM"
        " (SELECT o, c, at, row_number() OVER (PARTITION BY at) AS again FROM"
        " (SELECT tableoid AS o, ctid AS c, {there} AS at FROM {table} WHERE {free}) t"
        " ) t JOIN (SELECT a.vals, a.number, {mine} AS at, row_number() OVER"
        " (PARTITION BY {mine}) AS again FROM {part} a WHERE a.state = 'do'"
        " AND a.number BETWEEN {low} AND {high}) a USING (at, again)) a"
        " WHERE t.tableoid = a.o AND t.ctid = a.c RETURNING a.number)"
        " UPDATE {part} a SET state = 'put' FROM put WHERE put.number = a.number"
    ).format(
        table=what.target.identifier,
        values=sql.SQL(", ").join(
            sql.SQL("{} = {}").format(sql.Identifier(c.name), _value(at, c.base))
            for at, c in settable
        ),
        there=there,
        free=free,
        mine=mine,
        part=PART,
        low=low,
        high=high,
    )


def _free(what: Source) -> sql.Composable:
    (column,) = what.columns
    name = sql.Identifier(column.name)
    return sql.SQL("({} IS NOT DISTINCT FROM NULL OR {} = {}) AND {}").format(
        name, shown(name), default_of(column), untouched(what.applied)
    )


def _value(at: int, base: str) -> sql.Composable:
    """Cast without a length: the column itself refuses what it would have to cut."""
    return sql.SQL("a.vals[{}]::{}").format(sql.Literal(at), sql.SQL(base))


async def _left(connection: Connection) -> list[LeftOver]:
    cursor = await connection.execute(
        sql.SQL(
            "SELECT coalesce(reason, CASE state WHEN 'gone' THEN {gone}"
            " ELSE {converted} END) AS reason, count(*) AS rows,"
            " (array_agg(array_to_string(key, ', ', 'NULL') ORDER BY number))"
            "[1:{shown}] AS keys"
            " FROM {part} WHERE state IN ('gone', 'converted', 'failed')"
            " GROUP BY 1 ORDER BY 2 DESC, 1"
        ).format(
            gone=sql.Literal(_GONE),
            converted=sql.Literal(_CONVERTED),
            shown=sql.Literal(KEYS_SHOWN),
            part=PART,
        )
    )
    return [
        LeftOver(reason=row["reason"], rows=int(row["rows"]), keys=tuple(row["keys"]))
        for row in await cursor.fetchall()
    ]
