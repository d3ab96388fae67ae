"""Stripe's form encoding, and how a parameter is read: typed, or refused."""

import re
from collections.abc import Iterable
from typing import Any

from stack.vendors.stripe.errors import bad_param

MAX_METADATA_KEYS = 50
MAX_METADATA_KEY = 40
MAX_METADATA_VALUE = 500

Json = dict[str, Any]
_PARTS = re.compile(r"\[([^\[\]]*)\]")


def nested(pairs: Iterable[tuple[str, str]]) -> Json:
    """Give ``a[b]=c`` and ``a[0]=c`` as nested objects and lists.

    Raises:
        StripeError: one name is used both for a value and for an object.

    """
    tree: Json = {}
    for name, value in pairs:
        root, bracket, _ = name.partition("[")
        path = [root, *_PARTS.findall(name)] if bracket else [root]
        _put(tree, path, value, name)
    return {key: _lists(value) for key, value in tree.items()}


def _put(tree: Json, path: list[str], value: str, name: str) -> None:
    *parents, last = path
    for key in parents:
        tree = tree.setdefault(key, {})
        if not isinstance(tree, dict):
            raise bad_param(name, f"Invalid object: {name}")
    tree[last or str(len(tree))] = value


def _lists(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    inner = {key: _lists(child) for key, child in value.items()}
    if inner and all(key.isdigit() for key in inner):
        return [inner[key] for key in sorted(inner, key=int)]
    return inner


def text(params: Json, name: str) -> str | None:
    """Read a string; None if it was not sent."""
    value = params.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        raise bad_param(name, f"Invalid string: {value}")
    if not value:
        message = f"You passed an empty string for '{name}'."
        raise bad_param(name, message, "parameter_invalid_empty")
    return value


def integer(params: Json, name: str, *, least: int = 1) -> int | None:
    """Read a whole number of at least ``least``; None if it was not sent."""
    value = text(params, name)
    if value is None:
        return None
    if not re.fullmatch(r"-?[0-9]{1,18}", value):
        message = f"Invalid integer: {value}"
        raise bad_param(name, message, "parameter_invalid_integer")
    number = int(value)
    if number < least:
        message = f"This value must be greater than or equal to {least}."
        raise bad_param(name, message, "parameter_invalid_integer")
    return number


def flag(params: Json, name: str) -> bool:
    """Read ``true`` or ``false``; False if it was not sent."""
    value = params.get(name, "false")
    if value not in {"true", "false"}:
        raise bad_param(name, f"Invalid boolean: {value}")
    return bool(value == "true")


def choice(params: Json, name: str, choices: Iterable[str]) -> str | None:
    """Read one of the words in ``choices``; None if it was not sent."""
    value = text(params, name)
    words = sorted(choices)
    if value is not None and value not in words:
        raise bad_param(name, f"Invalid {name}: must be one of {', '.join(words)}")
    return value


def metadata(params: Json) -> dict[str, str]:
    """Read the caller's own keys and values, within Stripe's limits."""
    value = params.get("metadata") or {}
    if not isinstance(value, dict) or not all(
        isinstance(word, str) for word in value.values()
    ):
        raise bad_param("metadata", "Invalid object")
    if len(value) > MAX_METADATA_KEYS:
        message = f"Metadata can have up to {MAX_METADATA_KEYS} keys."
        raise bad_param("metadata", message)
    for key, word in value.items():
        if len(key) > MAX_METADATA_KEY or len(word) > MAX_METADATA_VALUE:
            message = (
                f"Metadata keys can have up to {MAX_METADATA_KEY} characters, "
                f"values up to {MAX_METADATA_VALUE}."
            )
            raise bad_param(f"metadata[{key}]", message)
    return {key: word for key, word in value.items() if word}
