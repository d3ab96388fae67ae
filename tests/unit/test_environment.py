"""Environment variables: what is kept of them, what is told of two deployments."""

import pytest

from rollback.environment import Difference, difference, fingerprints, read_file
from rollback.errors import BadInput
from rollback.model import EnvironmentVariable, Variable

KEY = "a key that nobody knows"
SECRET = "postgresql://me:hush@host/db"


def sealed(
    key: str | None = KEY, **values: str | None
) -> tuple[EnvironmentVariable, ...]:
    """These variables as they are recorded."""
    given = [Variable(name=name, value=value) for name, value in values.items()]
    return fingerprints(given, key)


def test_a_value_is_kept_by_its_fingerprint_alone() -> None:
    """Nothing of the value is in it, and the same value gives the same one."""
    (kept,) = sealed(DATABASE_URL=SECRET)

    assert kept.fingerprint
    assert "hush" not in repr(kept)
    assert sealed(DATABASE_URL=SECRET) == (kept,)
    assert sealed(DATABASE_URL=SECRET + "x") != (kept,)


def test_a_fingerprint_needs_the_key() -> None:
    """Whoever has another key cannot try values against it."""
    (ours,), (theirs,) = sealed(A=SECRET), sealed("another key", A=SECRET)

    assert ours.fingerprint
    assert theirs.fingerprint
    assert ours.fingerprint.partition(":")[2] != theirs.fingerprint.partition(":")[2]


def test_one_value_under_two_names_is_not_seen_to_be_one() -> None:
    """Else a fingerprint would tell which secrets are shared."""
    one, other = sealed(A=SECRET, B=SECRET)

    assert one.fingerprint != other.fingerprint


def test_without_a_key_or_a_value_the_name_alone_is_kept() -> None:
    """And names are in order, so that records compare."""
    assert sealed(None, B="2", A="1") == (
        EnvironmentVariable(name="A"),
        EnvironmentVariable(name="B"),
    )
    assert sealed(A=None) == (EnvironmentVariable(name="A"),)


def test_a_variable_does_not_show_its_value() -> None:
    """Not in a log, not in a traceback."""
    assert SECRET not in repr(Variable(name="A", value=SECRET))


def test_the_difference_of_two_deployments_names_what_it_can() -> None:
    """Added, removed, changed; what cannot be read is unknown, not unchanged."""
    before = sealed(GONE="1", SAME="1", OTHER="1", HIDDEN=None)
    after = sealed(NEW="1", SAME="1", OTHER="2", HIDDEN=None)

    assert difference(before, after) == Difference(
        added=("NEW",), removed=("GONE",), changed=("OTHER",), unknown=("HIDDEN",)
    )


def test_fingerprints_of_two_keys_are_unknown_and_not_changed() -> None:
    """A new key is no new environment."""
    found = difference(sealed(A="1"), sealed("another key", A="1"))

    assert found == Difference(unknown=("A",))


def test_what_was_never_recorded_is_not_compared() -> None:
    """Else the first record would look as if everything had been added."""
    assert difference((), sealed(A="1")) == Difference(comparable=False)


def test_a_file_is_read_as_shells_and_next_write_it() -> None:
    """Quotes, comments, `export`, several lines; the last of a name counts."""
    text = """
# a comment
PLAIN=one two # and a comment
export QUOTED="a \\"b\\" # no comment"
SINGLE='as \\n it is'
LINES="first
second\\tthird"
EMPTY=
HASH=a#b
PLAIN=three
"""
    found = {each.name: each.value for each in read_file(text)}

    assert found == {
        "PLAIN": "three",
        "QUOTED": 'a "b" # no comment',
        "SINGLE": "as \\n it is",
        "LINES": "first\nsecond\tthird",
        "EMPTY": "",
        "HASH": "a#b",
    }


@pytest.mark.parametrize("text", [f"A=1\n{SECRET}", f'A=1\nB="{SECRET}'])
def test_a_file_that_cannot_be_read_is_not_shown(text: str) -> None:
    """The line's number, and nothing of what stands in it."""
    with pytest.raises(BadInput, match="ine 2 ") as caught:
        read_file(text)

    assert "hush" not in f"{caught.value.message} {caught.value.mend}"
