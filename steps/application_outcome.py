"""Steps of rollbacks by hand that assert: what became of production, and who knows."""

import httpx
from pytest_bdd import parsers, then

from .application import REASON, VISITS, ByHand


@then("the command ends as restored")
def ends_restored(by_hand: ByHand) -> None:
    """Exit 0, measured from outside."""
    ran = by_hand.last
    assert ran.code == 0, f"{ran.stdout}\n{ran.stderr}"
    assert ran.document["outcome"] == "restored"
    assert all(flow["passed"] for flow in ran.document["flows"])


@then(parsers.parse('the command ends as escalated and says "{text}"'))
def ends_escalated(by_hand: ByHand, text: str) -> None:
    """Exit 5, and what went wrong."""
    ran = by_hand.last
    assert ran.code == 5, f"{ran.stdout}\n{ran.stderr}"
    assert ran.document["outcome"] == "escalated"
    assert text in ran.document["detail"], ran.document["detail"]


@then("the command ends with nothing to do")
def ends_with_nothing(by_hand: ByHand) -> None:
    """Exit 0, and no incident."""
    ran = by_hand.last
    assert (ran.code, ran.document["outcome"]) == (0, "nothing_to_do"), ran.stderr
    assert ran.document["incident"] is None


@then(parsers.parse('the command ends with exit code {code:d} and says "{text}"'))
def ends_with(by_hand: ByHand, code: int, text: str) -> None:
    """One sentence on what is wrong and one on what to do."""
    ran = by_hand.last
    assert ran.code == code, f"{ran.stdout}\n{ran.stderr}"
    assert text in ran.stderr
    assert "Traceback" not in ran.stderr


@then("the command refuses it because of the rolling release")
def refused_for_rolling(by_hand: ByHand) -> None:
    """Exit 4, in words."""
    ran = by_hand.last
    assert ran.code == 4, f"{ran.stdout}\n{ran.stderr}"
    assert "rolling release" in ran.stderr


@then(parsers.parse("every production host serves {release:w}"))
def hosts_serve(by_hand: ByHand, release: str) -> None:
    """As the platform has it, and as a visitor sees it."""
    assert set(by_hand.state()["domains"].values()) == {by_hand.id(release)}
    assert by_hand.visited() == by_hand.id(release)


@then(parsers.parse('"{host}" serves {release:w}'))
def host_serves(by_hand: ByHand, host: str, release: str) -> None:
    """Also the one that no job moves."""
    assert by_hand.state()["custom_aliases"] == {host: by_hand.id(release)}


@then("no visitor sees v2 any more")
def nobody_sees_v2(by_hand: ByHand) -> None:
    """Twenty visits in a row."""
    seen = {by_hand.visited() for _ in range(VISITS)}
    assert seen == {by_hand.id("v1")}


@then("people are told that new builds wait, and of the way forward")
def told_of_builds(by_hand: ByHand) -> None:
    """In the incident, and in #incidents."""
    document = by_hand.last.document
    assert document["auto_assign"] == {"before": True, "after": False}
    assert by_hand.state()["auto_assign_custom_domains"] is False
    said = " ".join(_slack(by_hand))
    assert "New builds of the application do not go live by themselves" in said
    assert f"rollback undo {document['incident']}" in said


@then("new builds go live by themselves again")
def builds_go_live(by_hand: ByHand) -> None:
    """As before the rollback."""
    assert by_hand.state()["auto_assign_custom_domains"] is True
    assert by_hand.last.document["auto_assign"]["after"] is True


@then("the undoing is on record as an incident of its own")
def undoing_on_record(by_hand: ByHand) -> None:
    """With its journal, the other's id, and in #incidents."""
    rolled_back, undone = (ran.document for ran in by_hand.ran)
    shown = by_hand.run("incidents", "show", undone["incident"]).document
    assert shown["undoes"] == rolled_back["incident"] != shown["incident"]
    assert "step_done" in [entry["event"] for entry in shown["journal"]]
    assert any("Going forward again" in text for text in _slack(by_hand))


@then("nothing was asked of the platform")
def nothing_asked(by_hand: ByHand) -> None:
    """Reading is all that was done."""
    assert by_hand.asked() == []


@then("nothing more was asked of the platform")
def nothing_more_asked(by_hand: ByHand) -> None:
    """Than the rollback before."""
    assert by_hand.asked() == ["rollback"]


@then("the platform was asked for one rollback")
def asked_once(by_hand: ByHand) -> None:
    """And for nothing else."""
    assert by_hand.asked() == ["rollback"]


@then("the platform was asked for two rollbacks")
def asked_twice(by_hand: ByHand) -> None:
    """The first one was refused."""
    assert by_hand.asked() == ["rollback"] * 2


@then("it names v2, v1 and every production host")
def plan_names(by_hand: ByHand) -> None:
    """All that a person needs to say yes."""
    ran = by_hand.last
    assert ran.code == 0, ran.stderr
    plan = ran.document
    assert (plan["from"], plan["to"]) == (by_hand.id("v2"), by_hand.id("v1"))
    assert sorted(plan["moves"]) == sorted(by_hand.state()["domains"])


@then("the reason stands with the rollback on the platform")
def reason_on_platform(by_hand: ByHand) -> None:
    """Whoever looks at the platform alone reads it there."""
    assert by_hand.state()["rollback_description"]["description"] == REASON


@then("a person is called")
def person_called(by_hand: ByHand) -> None:
    """In #incidents."""
    assert any("a person is needed" in text for text in _slack(by_hand))


def _slack(by_hand: ByHand) -> list[str]:
    url = f"{by_hand.stack.addresses['slack']}/_control/state"
    state = httpx.get(url, timeout=20).json()
    return [str(message) for message in state["messages"]]
