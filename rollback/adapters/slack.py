"""A Slack channel, by an incoming webhook. The webhook's address is a secret."""

import logging

import httpx
import stamina
from anyio import fail_after

from rollback.errors import ChannelDown
from rollback.model import Message

from . import web

__all__ = ["SlackWebhook"]

ATTEMPTS = 3
TITLE_LENGTH = 150  # Slack's limits
TEXT_LENGTH = 3000


class SlackWebhook:
    """Tells one Slack channel (port `Channel`).

    `timeout_seconds` is for each attempt; only what Slack says it did not take (429) is
    sent again. Slack cannot drop a repeat by a message's key.
    """

    name = "slack"

    def __init__(self, url: str, *, timeout_seconds: float = 10.0) -> None:
        self._url, self._timeout = url, timeout_seconds
        self._client = web.client(timeout_seconds=timeout_seconds)
        logging.getLogger("httpx").addFilter(self._is_harmless)

    async def send(self, message: Message) -> None:
        """Deliver one message; raises `ChannelDown` when it was not taken."""
        try:
            response = await self._post(message)
        except web.LOST as error:
            raise ChannelDown(
                f"Slack does not answer: {type(error).__name__}."
            ) from None  # the cause may show the address
        if not response.is_success or response.text.strip() != "ok":
            raise ChannelDown(
                f"Slack did not take the message: {web.sentence(response)}.",
                mend="Check SLACK_WEBHOOK_URL: whether it still leads to a channel.",
            )

    async def _post(self, message: Message) -> httpx.Response:
        body = {"text": _escaped(message.title), "blocks": _blocks(message)}
        try:
            async for attempt in stamina.retry_context(
                on=_not_taken, attempts=ATTEMPTS
            ):
                with attempt, fail_after(self._timeout):
                    response = await self._client.post(self._url, json=body)
                    _raise_if_not_taken(response)
        except web.TryAgain as error:
            return error.response
        return response

    def _is_harmless(self, record: logging.LogRecord) -> bool:
        """Drop the address, which httpx logs with every request."""
        return self._url not in record.getMessage()


def _raise_if_not_taken(response: httpx.Response) -> None:
    """Only of this answer it is certain: after any other, a repeat may be a second."""
    if response.status_code == web.TOO_MANY:
        raise web.TryAgain(response)


def _not_taken(error: Exception) -> bool | float:
    return isinstance(error, web.TryAgain) and web.worth_retrying(error)


def _blocks(message: Message) -> list[dict[str, object]]:
    title = {"type": "plain_text", "text": message.title[:TITLE_LENGTH]}
    blocks: list[dict[str, object]] = [{"type": "header", "text": title}]
    text = _escaped("\n".join(message.lines))[:TEXT_LENGTH]
    if text:
        blocks.append({"type": "section", "text": {"type": "mrkdwn", "text": text}})
    return blocks


def _escaped(text: str) -> str:
    """Slack's three control characters; so no name in a reason can ping anybody."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
