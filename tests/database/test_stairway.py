"""The stairway: every migration up, down and up again, with rows in the tables."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from rollback.errors import SchemaRefused
from rollback.targets.database.scripts import forward, load
from rollback.targets.database.stairway import Stair, climb
from rollback.testing import stairway

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

MIGRATIONS = Path("stack/migrations")
GUESTS = "CREATE TABLE guests (id int PRIMARY KEY, name text NOT NULL, seats int);"
DROP_GUESTS = "DROP TABLE guests;"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of migrations whose first makes a table, and takes it back."""
    return _written(tmp_path, {"001": GUESTS, "rollback_001": DROP_GUESTS})


def _written(folder: Path, scripts: Mapping[str, str]) -> Path:
    for name, text in scripts.items():
        (folder / f"{name}.sql").write_text(text, "utf-8")
    return folder


async def _last(server: str, folder: Path) -> Stair:
    """The last version's stair, where all before it are as they should be."""
    *others, last = await climb(server, folder)
    assert all(other.ok for other in others), others
    return last


def _found(stair: Stair) -> list[tuple[str, str]]:
    """The kinds of what was found, each with its lines."""
    return [(found.kind, "\n".join(found.lines)) for found in stair.findings]


async def test_the_practice_migrations_can_all_be_taken_back(server: str) -> None:
    """Schema and values are as before, and the archive gives back what went."""
    stairs = await climb(server, MIGRATIONS)

    assert [(stair.version, stair.findings) for stair in stairs] == [
        (version, ()) for version in forward(MIGRATIONS)
    ]
    assert [stair.warnings for stair in stairs if stair.warnings] == []
    assert all(stair.values for stair in stairs[1:])
    assert stairs[0].archived > 0


FORGOTTEN = {
    "an enum type": (
        "CREATE TYPE mood AS ENUM ('sad'); ALTER TABLE guests ADD COLUMN mood mood;",
        "+ type public.mood",
    ),
    "a policy": ("CREATE POLICY own ON guests USING (true);", "+ policy"),
    "row level security": ("ALTER TABLE guests ENABLE ROW LEVEL SECURITY;", "+ table"),
    "a grant": ("GRANT SELECT ON guests TO PUBLIC;", "+ grant"),
    "an index": (
        "CREATE INDEX by_id ON guests (id); CREATE INDEX by_seats ON guests (seats);",
        "+ index public.by_seats",
    ),
    "a default": (
        "ALTER TABLE guests ALTER COLUMN seats SET DEFAULT 2;",
        "+ column public.guests.seats",
    ),
}


async def test_what_a_rollback_leaves_behind_is_found(
    server: str, folder: Path
) -> None:
    """A script that forgets something runs without an error, and is found out."""
    ups = "\n".join(up for up, _ in FORGOTTEN.values())
    down = "ALTER TABLE guests DROP COLUMN mood; DROP INDEX by_id;"
    stair = await _last(server, _written(folder, {"002": ups, "rollback_002": down}))

    kind, lines = _found(stair)[0]
    assert kind == "schema"
    missed = [what for what, (_, line) in FORGOTTEN.items() if line not in lines]
    assert missed == []


async def test_what_a_rollback_takes_too_much_is_found(
    server: str, folder: Path
) -> None:
    """A column of the version before that is gone is a schema not given back."""
    scripts = {
        "002": "ALTER TABLE guests ADD COLUMN age int;",
        "rollback_002": "ALTER TABLE guests DROP COLUMN age, DROP COLUMN seats;",
    }
    stair = await _last(server, _written(folder, scripts))

    found = dict(_found(stair))
    assert found["schema"].startswith("- ")
    assert "public.guests.seats is gone" in found["values"]


async def test_values_that_a_rollback_changes_are_found(
    server: str, folder: Path
) -> None:
    """The schema is given back, and the names are not: the values tell."""
    scripts = {
        "002": "ALTER TABLE guests ADD COLUMN short text;",
        "rollback_002": "ALTER TABLE guests DROP COLUMN short;"
        "UPDATE guests SET name = left(name, 1);",
    }
    stair = await _last(server, _written(folder, scripts))

    assert [kind for kind, _ in _found(stair)] == ["values"]
    assert "public.guests.name: 7 of 7 values are others" in _found(stair)[0][1]


async def test_values_that_a_migration_changes_for_good_are_found(
    server: str, folder: Path
) -> None:
    """What a migration rounds, no rollback gives back."""
    scripts = {
        "002": "ALTER TABLE guests ALTER name TYPE varchar(3) USING left(name, 3);",
        "rollback_002": "ALTER TABLE guests ALTER COLUMN name TYPE text;",
    }
    stair = await _last(server, _written(folder, scripts))

    assert [kind for kind, _ in _found(stair)] == ["values"]


async def test_a_script_that_cannot_be_run_is_named(server: str, folder: Path) -> None:
    """One that is missing, empty or ends the transaction is a finding, not a skip."""
    for number, text in enumerate((None, "", "-- nothing yet", "COMMIT;"), start=2):
        _written(folder, {f"{number:03}": f"CREATE TABLE t{number} ();"})
        if text is not None:
            _written(folder, {f"rollback_{number:03}": text})
    _, *stairs = await climb(server, folder)

    for stair in stairs:
        (finding,) = stair.findings
        assert finding.kind == "down"
        assert f"rollback_{stair.version}.sql" in finding.sentence


async def test_a_rollback_that_fails_on_rows_is_found(
    server: str, folder: Path
) -> None:
    """On empty tables it would pass; the seed of the version has what stops it."""
    scripts = {
        "002": "ALTER TABLE guests ALTER COLUMN seats DROP NOT NULL;",
        "seed_002": "INSERT INTO guests VALUES (1000, 'no seat', NULL);",
        "rollback_002": "ALTER TABLE guests ALTER COLUMN seats SET NOT NULL;",
        "001": GUESTS.replace("seats int", "seats int NOT NULL"),
    }
    stair = await _last(server, _written(folder, scripts))

    (finding,) = stair.findings
    assert finding.kind == "down"
    assert "null values" in finding.sentence


async def test_a_migration_that_fails_on_rows_ends_the_stairway(
    server: str, folder: Path
) -> None:
    """The versions above it are not passed over in silence."""
    scripts = {
        "002": "ALTER TABLE guests ADD COLUMN age int NOT NULL;",
        "rollback_002": "ALTER TABLE guests DROP COLUMN age;",
        "003": "CREATE INDEX by_name ON guests (name);",
        "rollback_003": "DROP INDEX by_name;",
    }
    _, second, third = await climb(server, _written(folder, scripts))

    assert [finding.kind for finding in second.findings] == ["up"]
    assert [finding.kind for finding in third.findings] == ["up"]
    assert "002" in third.findings[0].sentence


async def test_what_one_version_leaves_does_not_spoil_the_next(
    server: str, folder: Path
) -> None:
    """Each version is judged on a ground on which those below are as they should be."""
    scripts = {
        "002": "CREATE TYPE mood AS ENUM ('sad'); CREATE TABLE moods (mood mood);",
        "rollback_002": "DROP TABLE moods;",
        "003": "CREATE INDEX by_mood ON moods (mood);",
        "rollback_003": "DROP INDEX by_mood;",
    }
    _, second, third = await climb(server, _written(folder, scripts))

    assert [finding.kind for finding in second.findings] == ["schema", "again"]
    assert third.findings == ()


async def test_a_point_of_no_return_is_told_and_passes(
    server: str, folder: Path
) -> None:
    """A script that says that there is no way back, and why, is no failure."""
    scripts = {
        "002": "DELETE FROM guests;",
        "rollback_002": "-- rollback: none, the guests asked to be forgotten\n",
        "003": "CREATE INDEX by_name ON guests (name);",
        "rollback_003": "DROP INDEX by_name;",
    }
    _, second, third = await climb(server, _written(folder, scripts))

    assert second.ok
    assert second.no_return == "the guests asked to be forgotten"
    assert third.ok


def test_no_plan_goes_over_a_point_of_no_return(folder: Path) -> None:
    """What the stairway lets pass, a rollback refuses, with the reason."""
    reason = "the guests asked to be forgotten"
    _written(folder, {"rollback_002": f"-- rollback: none, {reason}\nSELECT 1;"})

    with pytest.raises(SchemaRefused, match=f"no way back \\({reason}\\)"):
        load(folder, ["002", "001"])


async def test_a_table_without_rows_is_told(server: str, tmp_path: Path) -> None:
    """Of a table that cannot be seeded nothing is proved, and that is said."""
    scripts = {
        "001": "CREATE TABLE never (id int CHECK (id > 5 AND id < 4));",
        "rollback_001": "DROP TABLE never;",
    }
    (stair,) = await climb(server, _written(tmp_path, scripts))

    assert stair.ok
    (warning,) = stair.warnings
    assert warning.startswith("public.never was given no values")


async def test_columns_in_another_order_are_a_warning(
    server: str, folder: Path
) -> None:
    """Adding a column back puts it last, which nobody can help."""
    scripts = {
        "002": "ALTER TABLE guests DROP COLUMN name;",
        "rollback_002": "ALTER TABLE guests ADD COLUMN name text;",
        "001": GUESTS.replace("name text NOT NULL", "name text"),
    }
    stair = await _last(server, _written(folder, scripts))

    assert [kind for kind, _ in _found(stair)] == ["values"]
    assert any("public.guests" in warning for warning in stair.warnings)


async def test_non_transactional_migrations_are_climbed_too(
    server: str, folder: Path
) -> None:
    """A script that declares itself so goes down as production would take it."""
    scripts = {
        "002": "CREATE INDEX CONCURRENTLY by_name ON guests (name);"
        "CREATE INDEX CONCURRENTLY by_seats ON guests (seats);",
        "rollback_002": "-- rollback: no-transaction\n"
        "DROP INDEX CONCURRENTLY by_name; DROP INDEX CONCURRENTLY by_seats;",
    }
    assert (await _last(server, _written(folder, scripts))).findings == ()


async def test_a_folder_without_migrations_is_refused(
    server: str, tmp_path: Path
) -> None:
    """Nothing to climb is a mistake in the folder's name, not a pass."""
    with pytest.raises(SchemaRefused, match="no migrations"):
        await climb(server, tmp_path)


def test_the_helper_says_what_is_wrong(server: str, folder: Path) -> None:
    """What a team reads in its test's output names version, object and reason."""
    stairway(folder, server)

    _written(
        folder, {"002": "CREATE TYPE mood AS ENUM ();", "rollback_002": "SELECT 1"}
    )
    with pytest.raises(AssertionError) as caught:
        stairway(folder, server)

    said = str(caught.value)
    assert said.startswith("1 of 2 migrations can be taken back.\n\n002:\n")
    assert "does not give the schema back" in said
    assert "public.mood" in said
