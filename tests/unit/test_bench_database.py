"""The page of `bench/database` says what was measured."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from bench.database import migrations
from bench.database.contenders import Contender, Peers
from bench.database.losses import Loss
from bench.database.page import Results, page
from bench.database.speed import COUNTS, Parts, Run


def _contender(name: str) -> Contender:
    def nothing(_: str, __: int) -> Sequence[str]:
        return ()

    return Contender(
        name=name,
        version="1",
        checks="nothing",
        write=migrations.ours,
        deploy=nothing,
        revert=nothing,
        folder=Path(),
    )


def _results(*, ours: float, peer: float, load: float = 0.0) -> Results:
    runs = [
        Run(count=count, contender=name, seconds=seconds, parts=parts)
        for count in COUNTS
        for name, seconds, parts in (
            ("ours", ours, Parts(backup=1.0, apply=0.5)),
            ("peer", peer, None),
        )
    ]
    losses = [
        Loss(contender="ours", lost=0, written=5000, blocked=0.25),
        Loss(contender="peer", lost=1234, written=5000, blocked=0.01),
    ]
    return Results(
        contenders=[_contender("ours"), _contender("peer")],
        peers=Peers(missing=("sqitch is not on PATH",)),
        server="PostgreSQL 18",
        rounds=1,
        runs=runs,
        losses=losses,
        overheads=(),
        load=load,
        minutes=1,
    )


@pytest.mark.parametrize(("ours", "met"), [(3.0, "yes"), (3.5, "no")])
def test_the_aim_is_held_against_the_fastest_without_the_backup(
    ours: float, met: str
) -> None:
    """No peer takes a backup, so ours is taken off; nothing else is."""
    text = page(_results(ours=ours, peer=2.2))

    assert f"| 100 | {ours - 1:.2f} | 2.20 (peer) | {met} |" in text


def test_values_lost_and_peers_left_out_are_told() -> None:
    """What speaks against a peer, and who could not take part, stand on the page."""
    text = page(_results(ours=3.0, peer=2.0))

    assert "| pg_dump, then peer | 1,234 | 5,000 | 0.01 (0.01 to 0.01) |" in text
    assert "Left out: sqitch is not on PATH." in text


@pytest.mark.parametrize(("load", "told"), [(0.4, False), (9.0, True)])
def test_a_busy_machine_is_told(load: float, told: bool) -> None:
    """Figures of a machine that did other things are marked as such."""
    text = page(_results(ours=3.0, peer=2.0, load=load))

    assert ("The machine was busy" in text) is told


def test_every_tool_is_given_the_same_migrations(tmp_path: Path) -> None:
    """The statements are the same in each form, up and down."""
    made = migrations.made(3)
    for write in ("ours", "yoyo", "golang", "alembic", "sqitch"):
        folder = tmp_path / write
        folder.mkdir()
        getattr(migrations, write)(folder, made)
        files = [path for path in folder.rglob("*") if path.is_file()]
        text = "\n".join(path.read_text() for path in files)
        assert all(one.up in text and one.down in text for one in made), write
