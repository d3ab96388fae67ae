"""In which order archives go back."""

from collections.abc import Iterable, Mapping, Sequence

from rollback.transactions import Connection

from .names import Relation
from .parting import Archive

__all__ = ["parents_first"]

_REFERENCES = """
SELECT k.conrelid::int8 AS child, k.confrelid::int8 AS parent
  FROM pg_catalog.pg_constraint k
 WHERE k.contype = 'f' AND k.conrelid <> k.confrelid
   AND k.conrelid = ANY (%(oids)s::oid[]) AND k.confrelid = ANY (%(oids)s::oid[])
"""
_ORDER = {"table": 0, "rows": 1, "column": 2, "sequence": 3}


async def parents_first(
    connection: Connection,
    archives: Sequence[Archive],
    targets: Mapping[str, Relation],
) -> tuple[Archive, ...]:
    """Tables before rows before columns; what is referred to before what refers."""
    oids = {relation.oid for relation in targets.values()}
    cursor = await connection.execute(_REFERENCES, {"oids": list(oids)})
    edges = [(row["child"], row["parent"]) for row in await cursor.fetchall()]
    depth = dict.fromkeys(oids, 0)
    for _ in oids:  # longer than any chain of them
        for child, parent in edges:
            if depth[child] <= depth[parent] < len(oids):
                depth[child] = depth[parent] + 1

    def place(archive: Archive) -> tuple[int, int]:
        target = targets.get(archive.table_name)
        return _ORDER.get(archive.kind, 1), depth[target.oid] if target else 0

    return tuple(
        each for _, group in _by_incident(archives) for each in sorted(group, key=place)
    )


def _by_incident(
    archives: Iterable[Archive],
) -> Iterable[tuple[str, list[Archive]]]:
    """The newest first: it says best what was there last."""
    groups: dict[str, list[Archive]] = {}
    for archive in archives:
        groups.setdefault(archive.incident, []).append(archive)
    return groups.items()
