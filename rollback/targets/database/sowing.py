"""The statements that put values into tables, each value as text."""

from psycopg import sql

from .layout import Column, Limit, Table

__all__ = ["Cells", "change", "insertion", "referable"]

SOME = 50

Cells = dict[str, str | None]


def referable(key: Limit) -> sql.Composed:
    """What a foreign key may point at, each value as text."""
    columns = sql.SQL(", ").join(
        sql.SQL("{name}::text AS {name}").format(name=sql.Identifier(name))
        for name in key.others
    )
    given = sql.SQL(" AND ").join(
        sql.SQL("{} IS NOT NULL").format(sql.Identifier(name)) for name in key.others
    )
    return sql.SQL("SELECT {} FROM {} WHERE {} ORDER BY {} LIMIT {}").format(
        columns,
        sql.SQL(key.other or ""),
        given,
        sql.SQL(", ").join(map(sql.Identifier, key.others)),
        sql.Literal(SOME),
    )


def _cast(column: Column) -> sql.Composed:
    return sql.SQL("CAST({} AS {})").format(
        sql.Placeholder(f"c{column.place}"),
        sql.SQL(column.type),
    )


def _named(given: list[Column], cells: Cells) -> Cells:
    return {f"c{column.place}": cells[column.name] for column in given}


def insertion(
    table: Table, given: list[Column], cells: Cells
) -> tuple[sql.Composed, Cells]:
    """A new row: the statement and its values."""
    name = sql.SQL(table.name)
    if not given:
        return sql.SQL("INSERT INTO {} DEFAULT VALUES").format(name), {}
    query = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
        name,
        sql.SQL(", ").join(sql.Identifier(column.name) for column in given),
        sql.SQL(", ").join(map(_cast, given)),
    )
    return query, _named(given, cells)


def change(
    table: Table, given: list[Column], cells: Cells
) -> tuple[sql.Composed, Cells]:
    """Values for the row at a place that is given as `at`."""
    changes = sql.SQL(", ").join(
        sql.SQL("{} = {}").format(sql.Identifier(column.name), _cast(column))
        for column in given
    )
    query = sql.SQL("UPDATE {} SET {} WHERE ctid = {}::tid").format(
        sql.SQL(table.name),
        changes,
        sql.Placeholder("at"),
    )
    return query, _named(given, cells)
