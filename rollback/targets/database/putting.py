"""Archived values go back, all at once where they can, else in ever smaller parts."""

from dataclasses import dataclass, field

from psycopg import Error, sql
from psycopg.errors import LockNotAvailable, QueryCanceled

from rollback.schema import LeftOver
from rollback.transactions import Connection

from .parting import PART, Source, array, default_of, lay_out
from .running import AGAIN, lost

__all__ = ["Outcome", "put_back"]

KEYS_SHOWN = 20
# So many parts are tried. What is left of a part that fails then is reported whole, and
# stays in the archive.
TRIES = 5000
_GONE = "the row that it belongs to is not there"
_CONVERTED = "the column has another type, in which it would not be the same value"


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
    done = await _counts(connection)
    outcome = Outcome(already=done.get("already", 0), newer=done.get("newer", 0))
    wanted = done.get("do", 0)
    while wanted:
        put = await _pass(connection, what)
        outcome.put_back += put
        counts = await _counts(connection)
        if not put or not counts.get("failed"):
            break
        # What failed may have needed a row that is there now.
        await connection.execute(
            sql.SQL(
                "UPDATE {0} SET state = CASE state WHEN 'failed' THEN 'do'"
                " ELSE 'done' END WHERE state IN ('failed', 'do')"
            ).format(PART)
        )
    outcome.left = await _left(connection)
    failed = sum(one.rows for one in outcome.left if one.reason not in _BEFOREHAND)
    # Somebody wrote there while we did.
    outcome.newer += max(0, wanted - outcome.put_back - failed)
    return outcome


_BEFOREHAND = (_GONE, _CONVERTED)


async def _counts(connection: Connection) -> dict[str, int]:
    cursor = await connection.execute(
        sql.SQL("SELECT state, count(*) AS rows FROM {} GROUP BY 1").format(PART)
    )
    return {row["state"]: int(row["rows"]) for row in await cursor.fetchall()}


async def _pass(connection: Connection, what: Source) -> int:
    """Every row that is to go back, in parts that are halved where they fail."""
    query = _insert(what) if what.inserts else _update(what)
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
        rows, reason = await _try(connection, query, low, high)
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
    connection: Connection, query: sql.Composed, low: int, high: int
) -> tuple[int, str | None]:
    """How many rows went back; or nothing did, and why."""
    try:
        async with connection.transaction():
            done = await connection.execute(query, {"low": low, "high": high})
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


def _insert(what: Source) -> sql.Composed:
    return sql.SQL(
        "INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE SELECT {values}"
        " FROM {part} a WHERE state = 'do' AND number BETWEEN %(low)s AND %(high)s"
    ).format(
        table=what.target.identifier,
        columns=sql.SQL(", ").join(sql.Identifier(c.name) for c in what.columns),
        values=sql.SQL(", ").join(
            _value(at, column.base) for at, column in enumerate(what.columns, 1)
        ),
        part=PART,
    )


def _update(what: Source) -> sql.Composed:
    """A row is set only while it is what it was when it was looked at."""
    names = [column.name for column in what.columns]
    mine: sql.Composable
    free: sql.Composable
    if what.whole:
        there, mine, free = array(names), sql.SQL("a.written"), sql.SQL("true")
    elif what.unique:
        there, free = array([*what.key, *names]), sql.SQL("true")
        mine = sql.SQL("a.key || a.now")
    else:
        there, mine, free = array(what.key), sql.SQL("a.key"), _free(what)
    # A column that only the server may set can have changed no value.
    settable = [(at, c) for at, c in enumerate(what.columns, 1) if c.identity != "a"]
    return sql.SQL(
        "UPDATE {table} t SET {values} FROM (SELECT t.o, t.c, a.vals FROM"
        " (SELECT o, c, at, row_number() OVER (PARTITION BY at) AS again FROM"
        " (SELECT tableoid AS o, ctid AS c, {there} AS at FROM {table} WHERE {free}) t"
        " ) t JOIN (SELECT a.vals, {mine} AS at, row_number() OVER"
        " (PARTITION BY {mine}) AS again FROM {part} a WHERE a.state = 'do'"
        " AND a.number BETWEEN %(low)s AND %(high)s) a USING (at, again)) a"
        " WHERE t.tableoid = a.o AND t.ctid = a.c"
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
    )


def _free(what: Source) -> sql.Composable:
    (column,) = what.columns
    return sql.SQL("({0} IS NOT DISTINCT FROM NULL OR {0}::text = {1})").format(
        sql.Identifier(column.name), default_of(column)
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
