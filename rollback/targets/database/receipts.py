"""Receipts, written in the transaction that they are of: there only if it committed."""

from dataclasses import asdict, fields
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from rollback.schema import Archived, Destroyed, Receipt
from rollback.transactions import Connection

__all__ = ["find", "save"]

_SAVE = """
INSERT INTO rollback.receipts (incident, plan_sha256, document, committed_at)
VALUES (%s, %s, %s, %s)
"""
_FIND = """
SELECT document FROM rollback.receipts
 WHERE incident = %s AND plan_sha256 = %s ORDER BY number DESC LIMIT 1
"""
_THERE = "SELECT to_regclass('rollback.receipts') IS NOT NULL AS there"


async def save(connection: Connection, receipt: Receipt) -> None:
    """Write it; `committed_at` in it is the moment just before the commit."""
    document = asdict(receipt) | {"committed_at": receipt.committed_at.isoformat()}
    await connection.execute(
        _SAVE,
        [receipt.incident, receipt.plan_sha256, Jsonb(document), receipt.committed_at],
    )


async def find(
    connection: Connection, incident: str, plan_sha256: str
) -> Receipt | None:
    """The receipt of an incident's rollback by this plan, if that committed."""
    there = await (await connection.execute(_THERE)).fetchone()
    if not there or not there["there"]:
        return None
    row = await (await connection.execute(_FIND, [incident, plan_sha256])).fetchone()
    return _receipt(row["document"]) if row else None


def _receipt(document: dict[str, Any]) -> Receipt:
    known = {field.name for field in fields(Receipt)}
    facts = {name: value for name, value in document.items() if name in known}
    return Receipt(
        **facts
        | {
            "versions": tuple(document["versions"]),
            "apart": tuple(document.get("apart", ())),
            "destroyed": tuple(Destroyed(**one) for one in document["destroyed"]),
            "archived": tuple(Archived(**one) for one in document["archived"]),
            "committed_at": datetime.fromisoformat(document["committed_at"]),
        }
    )
