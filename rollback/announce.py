"""Stage 7: one message per audience and phase, to all channels side by side."""

from collections.abc import Sequence

import anyio

from .errors import ChannelDown
from .model import Delivery, Incident, Message, Outcome, Verdict
from .ports import Channel, Clock

__all__ = ["alarm", "announce", "initiated", "outcome"]

SEND_TIMEOUT = 20.0  # a channel that hangs delays nobody else, and this long at most

TITLES = {
    Outcome.RESTORED: "{environment} is restored",
    Outcome.ESCALATED: "{environment} is NOT restored: a person is needed",
    Outcome.REFUSED: "{environment} was not rolled back: a person is needed",
    Outcome.NOTHING_TO_DO: "{environment}: nothing to roll back",
}


def initiated(incident: Incident) -> Message:
    """The first message: what is being undone, and why."""
    return Message(
        key=f"{incident.id}:initiated",
        phase="initiated",
        title=(
            f"Going forward again in {incident.environment}"
            if incident.undoes
            else f"Rolling back {incident.environment}"
        ),
        lines=(
            *_moves(incident),
            f"Because: {incident.reason}",
            *_undone(incident),
            f"Incident {incident.id}",
        ),
    )


def outcome(incident: Incident) -> Message:
    """How it ended, how long each phase took, and what is next."""
    ended = incident.outcome or Outcome.ESCALATED
    clocks = tuple(
        f"{phase.name.replace('_', ' ')}: {phase.seconds:.1f} s"
        + ("" if phase.met else " (over its budget)")
        for phase in incident.phases
    )
    following = (
        "Next: write the post-mortem."
        if ended is Outcome.RESTORED
        else f"Next: `rollback incidents show {incident.id}`, then act by hand."
    )
    return Message(
        key=f"{incident.id}:{ended}",
        phase=str(ended),
        title=TITLES[ended].format(environment=incident.environment.capitalize()),
        lines=(
            *_moves(incident),
            f"Because: {incident.reason}",
            incident.detail,
            *_undone(incident),
            *_builds(incident),
            *_unbacked(incident),
            *clocks,
            following,
            f"Incident {incident.id}",
        ),
    )


def _moves(incident: Incident) -> tuple[str, ...]:
    """A line for each part that goes back."""
    return (
        f"From {incident.from_deployment} to {incident.to_deployment}",
        *(
            f"{m.part}: from {m.from_deployment} to {m.to_deployment}"
            for m in incident.also
        ),
    )


def _undone(incident: Incident) -> tuple[str, ...]:
    return (f"This undoes {incident.undoes}",) if incident.undoes else ()


def _builds(incident: Incident) -> tuple[str, ...]:
    """A team that is not told wonders why its fix does not go live."""
    waiting = [step.target for step in incident.steps if step.auto_assign is False]
    if not waiting:
        return ()
    builds = f"New builds of the {' and of the '.join(waiting)} do not go live by"
    if incident.undoes or incident.outcome is not Outcome.RESTORED:
        return (f"{builds} themselves: promote them.",)
    return (
        (
            f"{builds} themselves until one is promoted: promote "
            "the one with the fix, or go forward again with "
            f"`rollback undo {incident.id}`."
        ),
    )


def _unbacked(incident: Incident) -> tuple[str, ...]:
    """That there is no backup is news; that there is one is as it should be."""
    if incident.backup is None or incident.backup.verified:
        return ()
    return (f"No backup was taken: {incident.backup.problem}",)


def alarm(verdict: Verdict, environment: str) -> Message:
    """What a gate that may only report has to say."""
    return Message(
        key=f"{verdict.deployment}:alarm",
        phase="alarm",
        title=f"{environment.capitalize()}: {verdict.deployment} should be rolled back",
        lines=(f"Because: {verdict.reason}", "Next: `rollback run`."),
    )


async def announce(
    channels: Sequence[Channel], message: Message, *, clock: Clock
) -> tuple[Delivery, ...]:
    """Send to all channels side by side; one that is down is recorded, not raised."""
    deliveries: dict[str, Delivery] = {}

    async def send(channel: Channel) -> None:
        problem: str | None = f"no answer within {SEND_TIMEOUT:.0f} s"
        with anyio.move_on_after(SEND_TIMEOUT):
            try:
                await channel.send(message)
                problem = None
            except ChannelDown as error:
                problem = error.message
        deliveries[channel.name] = Delivery(
            channel=channel.name, phase=message.phase, at=clock.now(), problem=problem
        )

    async with anyio.create_task_group() as group:
        for channel in channels:
            group.start_soon(send, channel)
    return tuple(deliveries[channel.name] for channel in channels)
