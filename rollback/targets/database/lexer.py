"""Where one SQL statement ends and the next begins, as PostgreSQL reads them.

PostgreSQL's own parser is a library under the GPL. All that is needed of it here is
where quotes, comments and statements end, and the words outside of them; the rules are
those of its scanner and of psql, with `standard_conforming_strings` on.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

__all__ = ["Statement", "Unclosed", "Word", "statements", "words"]

_START = "A-Za-z_\u0080-\U0010ffff"
_COMMENT = r"--[^\n\r]*"
# A string goes on after a line break, with the first part's rules for backslashes.
_GO_ON = rf"[ \t\f\v]*(?:{_COMMENT})?[\n\r](?:[ \t\n\r\f\v]|{_COMMENT}[\n\r])*'"
_TOKEN = re.compile(
    rf"""(?P<space>[ \t\n\r\f\v]+|{_COMMENT})
    |(?P<comment>/\*)
    |(?P<escaped>[eE]'(?:[^'\\]|\\.|''|'{_GO_ON})*(?:'|(?P<open_escaped>\Z)))
    |(?P<string>'(?:[^']|'')*(?:'|(?P<open_string>\Z)))
    |(?P<name>"(?:[^"]|"")*(?:"|(?P<open_name>\Z)))
    |(?P<dollar>\$(?:[{_START}][{_START}0-9]*)?\$)
    |(?P<word>[{_START}][{_START}0-9$]*)
    |(?P<parameter>\$[0-9]+)
    |(?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)
_OPEN = ("open_escaped", "open_string", "open_name")
_EDGE = re.compile(r"/\*|\*/")
# CREATE [OR REPLACE] FUNCTION or PROCEDURE, whose body may be BEGIN ATOMIC … END.
_ROUTINE = re.compile(r"CREATE (OR REPLACE )?(FUNCTION|PROCEDURE)\b")


class Unclosed(ValueError):
    """A quote or a comment is not closed."""

    def __init__(self, line: int) -> None:
        self.line = line
        super().__init__(f"what is opened in line {line} is not closed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One statement without its semicolon, the line it begins in, and its words.

    `words` are in capitals, and none of them stands in a quote or a comment.
    `backslash` is the line of a backslash outside of quotes, which only psql reads.
    """

    text: str
    line: int
    words: tuple[str, ...] = ()
    backslash: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """A word in capitals and where it stands; `called` where a parenthesis follows."""

    text: str
    at: int
    called: bool


@dataclass(slots=True)
class _Open:
    """The statement that is being read."""

    start: int
    words: list[str]
    backslash: int | None = None
    parentheses: int = 0
    bodies: int = 0

    def word(self, word: str) -> None:
        self.words.append(word)
        if self.parentheses or not _ROUTINE.match(" ".join(self.words[:4])):
            return
        if word == "BEGIN" or (word == "CASE" and self.bodies):
            self.bodies += 1
        elif word == "END" and self.bodies:
            self.bodies -= 1

    def other(self, character: str, line: int) -> None:
        if character == "\\":
            self.backslash = self.backslash or line
        elif character == "(":
            self.parentheses += 1
        elif character == ")":
            self.parentheses = max(0, self.parentheses - 1)

    @property
    def may_end(self) -> bool:
        return not self.parentheses and not self.bodies


def statements(text: str) -> tuple[Statement, ...]:
    """Split a script into its statements; comments alone are none.

    Raises:
        Unclosed: a quote or a comment is not closed.

    """
    found: list[Statement] = []
    current: _Open | None = None
    end = at = 0
    while at < len(text):
        kind, value, after = _next(text, at)
        if kind in {"space", "comment"}:
            at = after
            continue
        if value == ";" and (current is None or current.may_end):
            _close(found, text, current, at)
            current = None
        else:
            current = current or _Open(at, [])
            _take(current, kind, value, _line(text, at))
        at = end = after
    _close(found, text, current, end)
    return tuple(found)


def words(text: str) -> Iterator[Word]:
    """The words of a text, also those of the bodies in its dollar quotes.

    Raises:
        Unclosed: a quote or a comment is not closed.

    """
    at, last = 0, None
    while at < len(text):
        kind, value, after = _next(text, at)
        if kind not in {"space", "comment"}:
            if last is not None:
                yield replace(last, called=value == "(")
            last = None
        if kind == "word":
            last = Word(text=value.upper(), at=at, called=False)
        elif kind == "dollar":
            begin = text.index("$", at + 1) + 1
            for word in words(text[begin : after - (begin - at)]):
                yield replace(word, at=begin + word.at)
        at = after
    if last is not None:
        yield last


def _take(current: _Open, kind: str, value: str, line: int) -> None:
    if kind == "word":
        current.word(value.upper())
    elif kind == "other":
        current.other(value, line)


def _close(found: list[Statement], text: str, current: _Open | None, end: int) -> None:
    if current is None:
        return
    found.append(
        Statement(
            text=text[current.start : end].rstrip(),
            line=_line(text, current.start),
            words=tuple(current.words),
            backslash=current.backslash,
        )
    )


def _next(text: str, at: int) -> tuple[str, str, int]:
    """The kind of what stands here, its text, and where it ends."""
    match = _TOKEN.match(text, at)
    if match is None:  # the last alternative takes any character
        raise Unclosed(_line(text, at))
    kind = match.lastgroup or "other"
    if any(match[name] is not None for name in _OPEN):
        raise Unclosed(_line(text, at))
    if kind == "comment":
        return kind, "", _after_comment(text, at)
    if kind == "dollar":
        end = text.find(match.group(), match.end())
        if end < 0:
            raise Unclosed(_line(text, at))
        return kind, "", end + len(match.group())
    return kind, match.group(), match.end()


def _after_comment(text: str, at: int) -> int:
    """Comments of this kind are nested."""
    depth, end = 0, at
    while edge := _EDGE.search(text, end):
        depth += 1 if edge.group() == "/*" else -1
        end = edge.end()
        if depth == 0:
            return end
    raise Unclosed(_line(text, at))


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1
