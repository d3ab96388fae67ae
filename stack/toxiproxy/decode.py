"""JSON as Go's decoder reads it, for the original's clients rely on its leniency.

Keys match in any case, unknown keys and nulls are ignored, and text after the first
value is not looked at; but a value of the wrong type is refused.
"""

import json
from collections.abc import Mapping
from typing import Any, NoReturn

from stack.toxiproxy.errors import bad_body

_NAMES = {bool: "bool", int: "number", float: "number", str: "string", list: "array"}
_GO = {str: "string", bool: "bool", int: "int64", float: "float32", dict: "object"}
_INT64 = range(-(2**63), 2**63)


def first_value(body: bytes) -> Any:
    """Read the first JSON value of a body.

    Raises:
        ApiError: 400, there is none.

    """
    text = body.decode(errors="replace").lstrip()
    if not text:
        raise bad_body("EOF")
    decoder = json.JSONDecoder(parse_constant=_no_constant)
    try:
        return decoder.raw_decode(text)[0]
    except json.JSONDecodeError as error:
        cut = error.pos >= len(text) or error.msg.startswith("Unterminated")
        raise bad_body("unexpected EOF" if cut else error.msg) from error


def members(value: Any, struct: str, kinds: Mapping[str, type]) -> dict[str, Any]:
    """Take the known members of an object; those absent or null are left out.

    Args:
        value: what was read.
        struct: what Go calls the object, for the error.
        kinds: the known members, in lower case, and the type of each.

    Raises:
        ApiError: 400, a member or the value itself has the wrong type.

    """
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise bad_body(f"json: cannot unmarshal {_name(value)} into Go {struct}")
    found = {}
    for key, member in value.items():
        name = key.lower()
        if member is not None and name in kinds:
            found[name] = _typed(member, kinds[name], f"{struct}.{name}")
    return found


def _typed(value: Any, kind: type, where: str) -> Any:
    if not _fits(value, kind):
        field = f"Go struct field {where} of type {_GO[kind]}"
        raise bad_body(f"json: cannot unmarshal {_name(value)} into {field}")
    return value


def _fits(value: Any, kind: type) -> bool:
    if kind is float:
        return type(value) in (int, float)
    # By identity: True is an int to isinstance.
    return type(value) is kind and (kind is not int or value in _INT64)


def _name(value: Any) -> str:
    return _NAMES.get(type(value), "object")


def _no_constant(name: str) -> NoReturn:
    raise bad_body(f"invalid character '{name[0]}' looking for beginning of value")
