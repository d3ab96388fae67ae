"""Steps of state recovery that assert: what is there, and what was told."""

import json
from pathlib import Path

import anyio
import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from pytest_bdd import parsers, then

from .recovery import PAGES, QUEUE, STAYS, Recovering


@then("a verified backup of now is named by the incident")
def backup_named(recovering: Recovering) -> None:
    """It lies where it is said to lie, and holds the suppliers."""
    backup = recovering.by_hand.last.document["backup"]
    assert backup["verified"] is True
    manifest = json.loads((Path(backup["path"]) / "manifest.json").read_text("utf-8"))
    rows = {table["table"]: table["rows"] for table in manifest["tables"]}
    assert rows["public.suppliers"] == len(recovering.signed_up)


@then("the two suppliers are there")
@then("the two suppliers are there, and the one who came after the kill")
def suppliers_there(recovering: Recovering) -> None:
    """And nobody who came between the backup and the restore."""
    assert recovering.suppliers() == set(recovering.signed_up)


@then("no page of v2 is in the caches any more")
def pages_gone(recovering: Recovering) -> None:
    """Not one, of more than a thousand."""
    assert list(recovering.redis.scan_iter(match="page:*", count=1000)) == []
    steps = recovering.by_hand.last.document["steps"]
    (emptied,) = (step for step in steps if step["name"] == "empty the cache page:*")
    assert emptied["status"] == "done"
    assert f"{len(PAGES)} keys of page: removed" in emptied["detail"]


@then("flags, sessions and the queue are as they were")
def others_stay(recovering: Recovering) -> None:
    """To the byte, and no other key has gone."""
    before, now = recovering.before[0], recovering.state()[0]
    gone = {name.encode() for name in PAGES}
    assert {n: v for n, v in before.items() if n not in gone} == {
        n: v for n, v in now.items() if not n.startswith((b"session:", b"cache:"))
    } | {n: now[n] for n in (b"session:1",)}
    assert {b"feature_flags", QUEUE.encode(), *map(str.encode, STAYS)} <= now.keys()


@then("the edge was asked to forget what it kept of timeline")
def edge_purged(recovering: Recovering) -> None:
    """By its tag, once."""
    calls = recovering.by_hand.state()["calls"]
    asked = [c["status"] for c in calls if c["endpoint"] == "delete_by_tags"]
    assert asked == [200]


@then("nothing of the state was touched")
def untouched(recovering: Recovering) -> None:
    """Redis, the suppliers, the hosts, the backups; and there is no incident."""
    assert recovering.state() == recovering.before
    assert recovering.by_hand.asked() == []
    assert recovering.by_hand.run("incidents", "list").document == []


@then("it was told beforehand which rows would not be there any more")
def told_of_losses(recovering: Recovering) -> None:
    """By table, and since when."""
    said, backup = recovering.by_hand.last.stderr, recovering.backup
    assert backup
    assert "public.suppliers: 1 rows now, 2 rows in the backup." in said
    taken = f"{backup.taken_at:%Y-%m-%d %H:%M:%S} UTC"
    assert f"What was written since {taken} will not be there any more." in said
    assert said.index("1 rows now") < said.index("step begins")


@then("it is told that the backup is from before v2 went live")
def told_of_choice(recovering: Recovering) -> None:
    """Though a newer one was taken since, by the rollback."""
    said, backup = recovering.by_hand.last.stderr, recovering.backup
    assert backup
    assert f"restore the database from {backup.name}" in said
    v2 = recovering.by_hand.id("v2")
    assert f"It is the newest one from before {v2} went live" in said
    newer = [b for b in anyio.run(recovering.backups.known) if b.name != backup.name]
    assert newer[-1].label.startswith("inc-")


@then(parsers.parse("what was there before is kept, and named: {where:w}"))
def kept_and_named(recovering: Recovering, where: str) -> None:
    """Under its name the one who signed up after the backup can be found."""
    steps = recovering.by_hand.last.document["steps"]
    (restored,) = (s for s in steps if s["name"].startswith("restore the database"))
    (kept,) = (w.strip(",;") for w in restored["detail"].split() if "_before_" in w)
    database, table = recovering.database, f"{kept}.suppliers"
    if where == "database":
        database, table = make_conninfo(database, dbname=kept), "public.suppliers"
    schema, _, name = table.partition(".")
    with psycopg.connect(database) as connection:
        found = connection.execute(
            sql.SQL("SELECT count(*) FROM {} WHERE name LIKE 'supplier %'").format(
                sql.Identifier(schema, name)
            )
        )
        assert found.fetchone() == (1,)


@then("the restore was done already when it was run again")
def not_twice(recovering: Recovering) -> None:
    """It is told beforehand, and in the incident, which names the first run."""
    document = recovering.by_hand.last.document
    (restored,) = (
        step
        for step in document["steps"]
        if step["name"].startswith("restore the database")
    )
    assert restored["status"] == "already"
    (resumed,) = (e for e in document["journal"] if e["event"] == "resumes")
    assert resumed["detail"] != document["incident"]
    assert f"going on with {resumed['detail']}" in recovering.by_hand.last.stderr


@then("every step is explained in words")
def explained(recovering: Recovering) -> None:
    """In their order, each with a sentence at least."""
    ran = recovering.by_hand.last
    assert ran.code == 0, ran.stderr
    targets = [step["target"] for step in ran.document["steps"]]
    assert targets == ["backup", "last-good", "restore", "caches", "caches", "edge"]
    assert all(step["says"] for step in ran.document["steps"])
    assert recovering.backup
    assert ran.document["restores"]["backup"] == recovering.backup.name


@then("production is served by a new build of v1, which is on record as passing")
def served_anew(recovering: Recovering) -> None:
    """As the platform has it, a visitor sees it, and the command finds it."""
    by_hand = recovering.by_hand
    (live,) = set(by_hand.state()["domains"].values())
    assert live not in (by_hand.id("v1"), by_hand.id("v2"))
    assert by_hand.visited() == live
    history = by_hand.run("history").document
    (recorded,) = (each for each in history if each["deployment"] == live)
    assert recorded["git_sha"] == by_hand.stack.git_shas["v1"]
    assert recorded["health_check_status"] == "passing"
