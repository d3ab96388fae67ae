"""Statements end where PostgreSQL ends them, whatever stands in quotes and comments."""

from collections.abc import Callable, Iterator

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rollback.targets.database.lexer import Unclosed, statements

# What may stand inside of something, to look like its end or like a statement's.
SPITE = st.lists(
    st.sampled_from(
        (*";'\"\\\n x\u00e9(", "$$", "$a$", "--", "/*", "*/", "COMMIT", "E'")
    )
    | st.sampled_from((")", "BEGIN", "END", "$1", "a$")),
    max_size=8,
).map("".join)


def string(text: str) -> str:
    """An ordinary string."""
    return "'" + text.replace("'", "''") + "'"


def escaped(text: str) -> str:
    """A string with backslashes."""
    return " E'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def name(text: str) -> str:
    """A quoted name, as the alias of a value."""
    return '1 AS "a' + text.replace('"', '""') + '"'


def dollars(text: str) -> str:
    """A string in dollar quotes, whose tag does not stand in it."""
    return f" $tag${text}$tag$"


def remark(text: str) -> str:
    """A comment to the end of the line."""
    return "1 --" + text.replace("\n", " ") + "\n"


def comment(text: str) -> str:
    """A comment with a comment inside."""
    inner = text.replace("/*", "").replace("*/", "").replace("/", "").replace("*", "")
    return f"1 /*{inner}/*{inner}*/;*/"


WRAPPED = st.tuples(
    st.sampled_from([string, escaped, name, dollars, remark, comment]), SPITE
)


BODY = "BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END"
SCRIPT = st.lists(st.lists(WRAPPED, min_size=1, max_size=3), min_size=1, max_size=4)
Script = list[list[tuple[Callable[[str], str], str]]]


def put_together(script: Script) -> list[str]:
    """The statements of a script."""
    return [
        "SELECT " + ", ".join(wrap(text) for wrap, text in values) for values in script
    ]


@given(SCRIPT)
def test_nothing_inside_of_a_quote_or_comment_ends_a_statement(script: Script) -> None:
    """As many statements are found as were put together, with their own words only."""
    parts = put_together(script)
    found = statements(" ;\n".join(parts))
    assert len(found) == len(parts)
    for statement, part in zip(found, parts, strict=True):
        assert part.strip().startswith(statement.text)
        assert set(statement.words) <= {"SELECT", "AS"}
        assert statement.backslash is None


@given(st.text(alphabet="ab;'\"$-/*\\ \nE(", max_size=30))
def test_what_was_read_is_all_that_there_is(text: str) -> None:
    """Beside the statements only blanks, comments and semicolons are left."""
    try:
        found = statements(text)
    except Unclosed:
        return
    rest = text
    for statement in found:
        before, _, rest = rest.partition(statement.text)
        assert text.split("\n")[statement.line - 1].count(statement.text[0])
        assert not statements(before)
    assert not statements(rest)


@given(SCRIPT)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_postgres_finds_as_many(connection: psycopg.Connection, script: Script) -> None:
    """PostgreSQL answers each of our statements with one result of its own."""
    text = " ;\n".join(put_together(script))
    cursor = connection.execute(text.encode())
    results = 1
    while cursor.nextset():
        results += 1
    assert results == len(statements(text))


@pytest.fixture
def connection(server: str) -> Iterator[psycopg.Connection]:
    """A connection to try texts on."""
    with psycopg.connect(server, autocommit=True) as connection:
        yield connection


@pytest.mark.parametrize(
    ("text", "texts"),
    [
        ("E'a'\n  'b\\'; ' ; x", ["E'a'\n  'b\\'; '", "x"]),
        ("E'a' -- c\n 'b\\';' ; x", ["E'a' -- c\n 'b\\';'", "x"]),
        ("'a\\'; x", ["'a\\'", "x"]),
        ("a$b$;c$b$", ["a$b$", "c$b$"]),
        ("1$b$;c$b$", ["1$b$;c$b$"]),
        ("CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2); x", None),
        (f"CREATE OR REPLACE PROCEDURE p() {BODY}; x", None),
        ("/* /* ; */ ; */ a; -- b", ["a"]),
        (";;a;;", ["a"]),
    ],
)
def test_statements_end_at_their_semicolon(text: str, texts: list[str] | None) -> None:
    """Continued strings, names with dollars, rules and bodies are kept whole."""
    found = [statement.text for statement in statements(text)]
    assert found == (texts or [text.removesuffix("; x"), "x"])


def test_lines_are_those_of_the_first_word() -> None:
    """A statement's line is where it begins, not where the comment before it does."""
    found = statements("-- a\n\n/* b\n*/ SELECT\n1;\n SELECT 2")
    assert [statement.line for statement in found] == [4, 6]


@pytest.mark.parametrize("text", ["\n'a", '\n"a', "\n$$a", "\n/* /* */", "\nE'a\\'"])
def test_what_is_not_closed_is_told_with_its_line(text: str) -> None:
    """A quote or comment that runs to the end is an error of the line that opens it."""
    with pytest.raises(Unclosed) as error:
        statements(text)
    assert error.value.line == 2
