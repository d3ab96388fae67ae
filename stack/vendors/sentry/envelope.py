"""Envelopes: a header and items, in lines. Source: develop.sentry.dev/sdk/envelopes."""

import gzip
import importlib
import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

Json = dict[str, Any]


def _brotli(body: bytes) -> bytes:
    # The SDK compresses with brotli wherever it is installed, and only there.
    module = importlib.import_module("brotli")
    try:
        plain: bytes = module.decompress(body)
    except module.error as error:
        raise ValueError(str(error)) from error
    return plain


_DECODERS: Mapping[str, Callable[[bytes], bytes]] = {
    "": bytes,
    "identity": bytes,
    "gzip": gzip.decompress,
    "deflate": zlib.decompress,
    "br": _brotli,
}


def plain(body: bytes, encoding: str) -> bytes:
    """Undo the ``Content-Encoding`` of a body.

    Raises:
        ValueError: the encoding is not known here, or the body is not in it.

    """
    try:
        return _DECODERS[encoding.strip().lower()](body)
    except (KeyError, OSError, EOFError, ImportError, zlib.error) as error:
        raise ValueError(f"cannot decode {encoding!r}: {error}") from error


def items(envelope: bytes) -> Iterator[tuple[str, bytes]]:
    """Give each item's type and payload, without the envelope's own header.

    Raises:
        ValueError: it is not an envelope.

    """
    head, _, rest = envelope.partition(b"\n")
    _object(head)
    while rest.strip():
        line, _, rest = rest.lstrip(b"\n").partition(b"\n")
        header = _object(line)
        length = header.get("length", len(rest.partition(b"\n")[0]))
        if not isinstance(length, int) or not 0 <= length <= len(rest):
            raise ValueError("an item is shorter than its header says")
        yield str(header.get("type", "")), rest[:length]
        rest = rest[length:]


def _object(line: bytes) -> Json:
    value = json.loads(line)
    if not isinstance(value, dict):
        raise ValueError("an envelope's header is an object")  # noqa: TRY004  # bad data
    return value
