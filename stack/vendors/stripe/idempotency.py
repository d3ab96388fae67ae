"""A request that is sent twice with one key is carried out once.

Source: docs.stripe.com/api/idempotent_requests. Keys last until the next reset.
"""

from dataclasses import dataclass, field
from typing import Any

from stack.vendors.stripe.errors import StripeError

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A status, its JSON, and whether a repeat of the request gets it again."""

    status: int
    content: bytes
    request_id: str
    saved: bool = True
    replayed: bool = False


@dataclass(slots=True, kw_only=True)
class _Use:
    path: str
    params: Json
    answer: Answer | None = None


@dataclass(slots=True)
class IdempotencyKeys:
    """Which keys were used for what. A use without an answer is still under way."""

    _uses: dict[str, _Use] = field(default_factory=dict)

    def begin(self, key: str, path: str, params: Json) -> Answer | None:
        """Give the stored answer, or None: the caller is the first and shall finish.

        Raises:
            StripeError: the key is in use right now (409) or was for something else.

        """
        use = self._uses.get(key)
        if use is None:
            self._uses[key] = _Use(path=path, params=params)
            return None
        if (use.path, use.params) != (path, params):
            raise _misused(key, use, path)
        if use.answer is None:
            raise _in_use(key)
        return use.answer

    def finish(self, key: str, answer: Answer) -> None:
        """Keep the answer for repeats, or free the key if Stripe would not keep it."""
        use = self._uses.get(key)
        if use is None:
            return
        if answer.saved:
            use.answer = answer
        else:
            del self._uses[key]

    def clear(self) -> None:
        """Forget every key."""
        self._uses.clear()


def _misused(key: str, use: _Use, path: str) -> StripeError:
    same = (
        "the same parameters they were first used with"
        if use.path == path
        else f"the same endpoint they were first used for ('{path}' vs '{use.path}')"
    )
    message = (
        f"Keys for idempotent requests can only be used with {same}. Try using a key "
        f"other than '{key}' if you meant to execute a different request."
    )
    return StripeError(400, message, kind="idempotency_error")


def _in_use(key: str) -> StripeError:
    message = (
        "There is currently another in-progress request using this Idempotent Key "
        "(that probably means you submitted twice, and the other request is still "
        f"going through): {key}. Please try again later."
    )
    return StripeError(409, message, code="idempotency_key_in_use")
