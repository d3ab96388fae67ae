"""Steps of rollbacks of the database that assert: what it holds now, by SQL of ours."""

from dataclasses import replace
from pathlib import Path

import psycopg
from pytest_bdd import parsers, then

from .application import BYPASS
from .schema import LOST, REFUSED, V2, Scene
from .tables import Picture, archived, dumped, picture
from .visitors import Visitors

ESCALATED = 5
BY_V3 = {"couples"}


@then(parsers.parse('the command refuses it and says "{text}"'))
def refuses(scene: Scene, text: str) -> None:
    """Exit 4, in words."""
    ran = scene.by_hand.last
    assert ran.code == REFUSED, f"exit {ran.code}: {ran.stdout}\n{ran.stderr}"
    *_, sentence, _mend = ran.stderr.splitlines()
    assert text in sentence
    assert "Traceback" not in ran.stderr


@then("the command ends as escalated, and so does its incident")
def escalated(scene: Scene) -> None:
    """Exit 5; on record with the step that failed, and without a receipt."""
    ran = scene.by_hand.last
    assert ran.code == ESCALATED, f"exit {ran.code}: {ran.stdout}\n{ran.stderr}"
    name = ran.document["incident"]
    shown = scene.by_hand.command.run("incidents", "show", name, "--json").document
    assert (shown["outcome"], shown["receipt"]) == ("escalated", None)
    assert [step["status"] for step in shown["steps"]] == ["failed"]
    assert shown["backup"]["verified"] is True


@then("nothing was changed")
def nothing_changed(scene: Scene) -> None:
    """Schema, history and values are what v3 had; nothing is archived."""
    assert picture(scene.url) == scene.as_v3
    assert _archives(scene.url) == 0


def _archives(url: str) -> int:
    with psycopg.connect(url) as session:
        known = session.execute("SELECT to_regclass('rollback.archives')").fetchone()
        if known == (None,):
            return 0
        found = session.execute("SELECT count(*) FROM rollback.archives").fetchone()
    return int(found[0]) if found else 0


@then("nothing was changed in the schema")
def schema_kept(scene: Scene) -> None:
    """It is what it was before; visitors may have written."""
    assert scene.at_first
    now = picture(scene.url)
    assert (now.structure, now.versions) == (
        scene.at_first.structure,
        scene.at_first.versions,
    )


@then("the schema is v2's again, with every value that v2 knows")
def as_v2(scene: Scene) -> None:
    """Down to the last row, also of those that v3 wrote."""
    assert scene.as_v3
    assert scene.at_first
    now, expected = picture(scene.url), _seen_by_v2(scene.as_v3)
    assert now.versions == expected.versions
    assert now.rows == expected.rows
    assert now.structure == scene.at_first.structure


def _seen_by_v2(as_v3: Picture) -> Picture:
    rows = {name: rows for name, rows in as_v3.rows.items() if name not in BY_V3}
    rows["orders"] = tuple(
        {k: v for k, v in row.items() if k != "tax"} for row in rows["orders"]
    )
    rows["suppliers"] = tuple(
        {("name" if k == "trading_name" else k): v for k, v in row.items()}
        for row in rows["suppliers"]
    )
    return replace(as_v3, versions=_upto(as_v3.versions), rows=rows)


def _upto(versions: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(version for version in versions if version <= V2)


@then("the schema is v3's again, with every value")
def as_v3(scene: Scene) -> None:
    """As if nothing had happened."""
    assert picture(scene.url) == scene.as_v3


@then("every value that only v3 knows is in the archive")
def all_archived(scene: Scene) -> None:
    """Each once."""
    assert scene.as_v3
    _hold(scene.url, scene.as_v3)


def _hold(url: str, as_v3: Picture) -> None:
    couples = {(c["submission_id"], c["names"]) for c in as_v3.rows["couples"]}
    kept = [(c["submission_id"], c["names"]) for c in archived(url, "public.couples")]
    assert sorted(kept) == sorted(couples)
    taxes = {(o["id"], str(o["tax"])) for o in as_v3.rows["orders"] if o["tax"]}
    kept = [(o["id"], o["tax"]) for o in archived(url, "public.orders.tax")]
    assert sorted(kept) == sorted(taxes)


@then("it names the three migrations, newest first, and the values that each destroys")
def plan_names(scene: Scene) -> None:
    """The table with its rows and the column with its values; the rest has none."""
    ran = scene.by_hand.last
    assert ran.code == 0, ran.stderr
    plan = ran.document
    assert (plan["from"], plan["to"], plan["refusal"]) == ("006", V2, None)
    assert plan["versions"] == ["006", "005", "004"]
    found = {(d["object"], d["kind"]): d["rows"] for d in plan["destroys"]}
    assert found["public.couples", "table"] == 3
    assert found["public.orders.tax", "column"] == 3
    assert ("public.takings", "view") in found


@then("couples sent forms after the backup was taken")
def sent_since(scene: Scene) -> None:
    """Otherwise nothing was proved: the backup alone would hold all of them."""
    programs = scene.by_hand.stack.environment["ROLLBACK_POSTGRES_PROGRAMS"]
    backup = Path(scene.by_hand.last.document["backup"]["path"])
    assert scene.writer
    text = dumped(programs, backup)
    assert any(name not in text for name in scene.writer.accepted)


@then("every form that was accepted is there, with its couple in the archive")
def none_lost(scene: Scene) -> None:
    """Whoever was told that it is kept finds it."""
    assert scene.writer
    scene.writer.stop()
    assert scene.writer.problem, "the schema never changed under the couples"
    accepted = set(scene.writer.accepted)
    kept = {row["names"] for row in archived(scene.url, "public.couples")}
    forms = picture(scene.url).rows["submissions"]
    assert accepted <= kept
    assert accepted <= {form["answers"]["names"] for form in forms}


@then(
    "the form is left with its reason, its couple is still archived, all else is back"
)
def left(scene: Scene) -> None:
    """Nothing is put where it belongs to nothing; nothing else suffers from it."""
    assert scene.as_v3
    forms = scene.as_v3.rows["submissions"]
    (gone,) = (form["id"] for form in forms if form["answers"]["names"] == LOST)
    objects = {each["object"]: each for each in scene.by_hand.last.document["objects"]}
    (said,) = objects["public.couples"]["left"]
    assert (said["rows"], said["keys"]) == (1, [gone])
    assert said["reason"].endswith(
        'foreign key constraint "couples_submission_id_fkey"'
    )
    assert objects["public.couples"]["put_back"] == len(forms) - 1
    assert objects["public.orders.tax"]["left"] == []
    now = picture(scene.url).rows
    assert LOST not in {couple["names"] for couple in now["couples"]}
    assert len(now["couples"]) == len(forms) - 1
    assert now["orders"] == scene.as_v3.rows["orders"]
    assert LOST in {row["names"] for row in archived(scene.url, "public.couples")}


@then("no backup was taken")
def no_backup(scene: Scene) -> None:
    """Where nothing is rolled back there is none to take."""
    folder = Path(scene.by_hand.stack.environment["ROLLBACK_BACKUPS"])
    assert not folder.exists() or not list(folder.iterdir())


@then("the schema went back before the traffic did")
def schema_first(scene: Scene) -> None:
    """By the clock of the database, and of the platform that was asked to move it."""
    with psycopg.connect(scene.url) as session:
        query = "SELECT extract(epoch FROM max(archived_at)) FROM rollback.archives"
        found = session.execute(query).fetchone()
    calls = scene.by_hand.state()["calls"]
    (moved,) = (call["at"] for call in calls if call["endpoint"] == "rollback")
    assert found
    assert float(found[0]) < moved


@then("all that v3 kept for visitors is in the archive")
def kept_for_visitors(scene: Scene, visitors: Visitors) -> None:
    """Of every form and every payment that they were told was taken."""
    v3 = scene.by_hand.id("v3")
    sent = [r for r in visitors.requests() if r["method"] == "POST"]
    good = [r for r in sent if (r["outcome"], r["deployment"]) == ("ok", v3)]
    forms = {r["submission_id"]: r for r in good if r["flow"] == "form"}
    orders = {r["order_id"]: r for r in good if r["flow"] == "payment"}
    assert forms
    assert orders
    couples = {c["submission_id"] for c in archived(scene.url, "public.couples")}
    taxes = {o["id"] for o in archived(scene.url, "public.orders.tax")}
    assert not [form for name, form in forms.items() if name not in couples]
    assert not [order for name, order in orders.items() if name not in taxes]


@then("v3 shows the couple and the tax as before")
def as_before(scene: Scene) -> None:
    """In its tables; and its own address is healthy."""
    now = picture(scene.url)
    assert [couple["names"] for couple in now.rows["couples"]] == ["A & B"]
    taxes = {order["id"]: order["tax"] for order in now.rows["orders"]}
    assert taxes["order-1"] == 700
    stack = scene.by_hand.stack
    answer = scene.by_hand.http.get(
        f"{stack.deployment_urls['v3']}/",
        headers={"x-vercel-protection-bypass": stack.environment[BYPASS]},
    )
    assert (answer.status_code, "Roses" in answer.text) == (200, True)
