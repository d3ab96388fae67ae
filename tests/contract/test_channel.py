"""The contract of the port `Channel`."""

import logging
import socket
from collections.abc import Callable
from typing import Any

import anyio
import httpx
import pytest

from rollback.adapters.memory import MemoryChannel
from rollback.adapters.slack import SlackWebhook
from rollback.errors import ChannelDown
from rollback.model import Message
from rollback.ports import Channel
from stack.backends import Stack

pytestmark = pytest.mark.anyio

real_only = pytest.mark.parametrize("kind", ["real"])
Received = Callable[[], list[tuple[str, str]]]


def message(title: str = "Rolled back", *lines: str) -> Message:
    """Some news."""
    return Message(key="inc_1/outcome", phase="outcome", title=title, lines=lines)


@pytest.fixture
def webhook(stack: Stack, control: httpx.Client) -> str:
    """The address of a channel in which nothing was said."""
    control.post(f"{stack.addresses['slack']}/_control/reset").raise_for_status()
    return stack.environment["SLACK_WEBHOOK_URL"]


@pytest.fixture
def channel(kind: str, request: pytest.FixtureRequest) -> Channel:
    """A channel in which nothing was said."""
    if kind != "real":
        return MemoryChannel()
    return SlackWebhook(request.getfixturevalue("webhook"))


@pytest.fixture
def posted(stack: Stack, control: httpx.Client) -> Callable[[], list[dict[str, Any]]]:
    """What Slack has, as it came."""

    def read() -> list[dict[str, Any]]:
        state = control.get(f"{stack.addresses['slack']}/_control/state").json()
        return [each["payload"] for each in state["messages"]]

    return read


@pytest.fixture
def received(channel: Channel, request: pytest.FixtureRequest) -> Received:
    """What those in the channel read: titles, and the lines below."""
    if isinstance(channel, MemoryChannel):
        return lambda: [(m.title, "\n".join(m.lines)) for m in channel.messages]
    posted = request.getfixturevalue("posted")

    def read() -> list[tuple[str, str]]:
        blocks = [each["blocks"] for each in posted()]
        texts = [[b["text"]["text"] for b in each] for each in blocks]
        return [(title, "\n".join(rest)) for title, *rest in texts]

    return read


async def test_a_message_is_read_in_the_channel(
    channel: Channel, received: Received
) -> None:
    """Title and lines arrive, in the order in which they were sent."""
    await channel.send(message("Rolling back", "from dpl_2", "to dpl_1"))
    await channel.send(message("Restored"))
    assert received() == [("Rolling back", "from dpl_2\nto dpl_1"), ("Restored", "")]
    assert channel.name


async def test_what_was_not_taken_is_told(
    channel: Channel, stack_or_none: Stack | None
) -> None:
    """A channel that does not take the message raises; nobody takes it for told."""
    if isinstance(channel, MemoryChannel):
        channel.down = "no_service"
    elif stack_or_none:
        channel = SlackWebhook(f"{stack_or_none.addresses['slack']}/services/T0/B0/x")
    with pytest.raises(ChannelDown, match="no_service") as caught:
        await channel.send(message())
    assert "services" not in caught.value.message


@pytest.fixture
def stack_or_none(kind: str, request: pytest.FixtureRequest) -> Stack | None:
    """The practice stack, where the test needs it."""
    return request.getfixturevalue("stack") if kind == "real" else None


@real_only
async def test_names_in_a_message_ping_nobody(
    channel: Channel, posted: Callable[[], list[dict[str, Any]]]
) -> None:
    """What Slack would read as a command is sent as the text that it is."""
    await channel.send(message("a & b", "<!channel> x > y"))
    (payload,) = posted()
    assert payload["text"] == "a &amp; b"
    assert payload["blocks"][1]["text"]["text"] == "&lt;!channel&gt; x &gt; y"


@real_only
async def test_a_long_message_is_cut(
    channel: Channel, posted: Callable[[], list[dict[str, Any]]]
) -> None:
    """What is longer than Slack takes arrives shortened, and not at all otherwise."""
    await channel.send(message("t" * 500, *["<" * 100] * 50))
    (payload,) = posted()
    title, lines = payload["blocks"]
    assert len(title["text"]["text"]) <= 150
    assert len(lines["text"]["text"]) <= 3000


@real_only
async def test_a_limit_is_waited_for(channel: Channel, received: Received) -> None:
    """More messages than Slack takes at once all arrive."""
    for number in range(12):
        await channel.send(message(str(number)))
    assert [title for title, _ in received()] == [str(n) for n in range(12)]


@real_only
async def test_the_address_is_a_secret(
    webhook: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the log nor an error shows the webhook's address."""
    caplog.set_level(logging.DEBUG)
    channel = SlackWebhook(webhook)
    for _ in range(11):  # the last one is over Slack's limit, and sent again
        await channel.send(message())
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    nowhere = SlackWebhook(f"http://127.0.0.1:{port}/services/T0000/B0000/test")
    with pytest.raises(ChannelDown) as caught:
        await nowhere.send(message())
    assert caught.value.__suppress_context__
    logged = " ".join(str(vars(record)) for record in caplog.records)
    assert "T0000" not in logged + caught.value.message
    assert "T0000" not in caplog.text


@real_only
async def test_a_silent_slack_is_given_up() -> None:
    """A server that takes the connection and says nothing costs the timeout."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/services/x"
        with anyio.fail_after(3), pytest.raises(ChannelDown):
            await SlackWebhook(url, timeout_seconds=0.3).send(message())
