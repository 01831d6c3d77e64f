"""`set_presence` and `send`: what is refused before the wire, what a reconnect does to them (protocol.md §7)."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from face.support import eventually
from propylon import Activity, CommandError, CommandTooLarge, Gateway, NotConnected, OnlineStatus, Presence
from propylon.testing import Simulator, steps

pytestmark = pytest.mark.asyncio

Start = Callable[..., Simulator]


def commands(sim: Simulator) -> list[dict[str, Any]]:
    ours = {1, 2, 6}
    payloads = [op["payload"] for connection in sim.record()["connections"] for op in connection["ops"]]
    return [payload for payload in payloads if payload["op"] not in ours]


def sized(size: int, letter: str = "x") -> dict[str, str]:
    """Data whose op 31 payload is ``size`` bytes of UTF-8."""
    frame = len('{"op":31,"d":{"a":""}}')
    fill, rest = divmod(size - frame, len(letter.encode()))
    return {"a": letter * fill + "x" * rest}


async def test_the_presence_is_sent_as_discord_takes_it(propylon_simulator: Start, gateway_to: Any) -> None:
    sim = propylon_simulator()
    first = Presence(activities=[Activity.watching("for messages")], status=OnlineStatus.IDLE, afk=True, since=5)
    gateway: Gateway = gateway_to(sim, presence=first)
    await gateway.open(timeout=10)
    await gateway.set_presence(Presence(activities=[Activity.custom("hi ä"), Activity.streaming("x", "https://y")]))
    await sim.wait_for("op", op=3)
    identify = sim.record()["connections"][0]["ops"][0]["payload"]["d"]
    assert identify["presence"] == {
        "since": 5,
        "activities": [{"name": "for messages", "type": 3}],
        "status": "idle",
        "afk": True,
    }
    assert commands(sim) == [
        {
            "op": 3,
            "d": {
                "since": None,
                "activities": [
                    {"name": "Custom Status", "type": 4, "state": "hi ä"},
                    {"name": "x", "type": 1, "url": "https://y"},
                ],
                "status": "online",
                "afk": False,
            },
        }
    ]
    await eventually(lambda: gateway.metrics().commands_sent == 1)


async def test_payloads_leave_compact_and_in_order(propylon_simulator: Start, gateway_to: Any) -> None:
    sim = propylon_simulator()
    gateway: Gateway = gateway_to(sim)
    await gateway.open(timeout=10)
    data = {"ä": [1, None, True, 1.5, "\u2028"], "id": 2**63}
    await asyncio.gather(*[gateway.send(31, {"n": number}) for number in range(20)])
    await gateway.send(43, data)
    await sim.wait_for("op", op=43)
    assert commands(sim) == [*[{"op": 31, "d": {"n": number}} for number in range(20)], {"op": 43, "d": data}]
    last = sim.record()["connections"][0]["ops"][-1]
    assert last["bytes"] == len('{"op":43,"d":{"ä":[1,null,true,1.5,"\u2028"],"id":9223372036854775808}}'.encode())


@pytest.mark.parametrize("letter", ["x", "ä", "😀", "\u2028"])
async def test_4096_bytes_of_utf8_are_taken_and_4097_are_not(
    propylon_simulator: Start, gateway_to: Any, letter: str
) -> None:
    """F38."""
    sim = propylon_simulator()
    gateway: Gateway = gateway_to(sim)
    await gateway.open(timeout=10)
    await gateway.send(31, sized(4096, letter))
    with pytest.raises(CommandTooLarge, match="4097 bytes"):
        await gateway.send(31, sized(4097, letter))
    with pytest.raises(CommandTooLarge):
        await gateway.set_presence(Presence(activities=[Activity.playing(letter * 4096)]))
    await gateway.send(43, {})
    await sim.wait_for("op", op=43)
    sent = [op for op in sim.record()["connections"][0]["ops"] if op["op"] in (3, 31)]
    assert [op["bytes"] for op in sent] == [4096]


@pytest.mark.parametrize(
    "data",
    [float("nan"), float("inf"), {"x": -float("inf")}, b"bytes", {1, 2}, object(), "\ud800", [object()]],
    ids=["nan", "inf", "-inf", "bytes", "set", "object", "surrogate", "nested"],
)
async def test_what_json_cannot_hold_is_refused_and_the_connection_kept(
    propylon_simulator: Start, gateway_to: Any, data: Any
) -> None:
    gateway: Gateway = gateway_to(propylon_simulator())
    await gateway.open(timeout=10)
    with pytest.raises(CommandError, match="not possible in JSON"):
        await gateway.send(31, data)
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(CommandError, match="not possible in JSON"):
        await gateway.send(31, circle)
    assert gateway.metrics().commands_sent == 0


@pytest.mark.parametrize("op", [1, 2, 6, -1, 256, 1.0, "4", None, True])
async def test_opcodes_that_are_not_the_users(propylon_simulator: Start, gateway_to: Any, op: Any) -> None:
    gateway: Gateway = gateway_to(propylon_simulator())
    await gateway.open(timeout=10)
    with pytest.raises(CommandError, match="opcode"):
        await gateway.send(op, {})


def _changed_afterwards() -> Presence:
    presence = Presence()
    presence.activities.append("playing")  # type: ignore[arg-type]
    return presence


@pytest.mark.parametrize("presence", [_changed_afterwards(), {"status": "dnd"}, None])
async def test_what_is_no_presence(propylon_simulator: Start, gateway_to: Any, presence: Any) -> None:
    sim = propylon_simulator()
    gateway: Gateway = gateway_to(sim)
    await gateway.open(timeout=10)
    with pytest.raises(CommandError):
        await gateway.set_presence(presence)
    if presence is not None:
        with pytest.raises((TypeError, ValueError), match="presence"):
            gateway_to(sim, presence=presence)


async def test_without_connection_they_are_refused(propylon_simulator: Start, gateway_to: Any) -> None:
    gateway: Gateway = gateway_to(propylon_simulator())
    for _ in range(2):
        with pytest.raises(NotConnected):
            await gateway.send(31, {})
        with pytest.raises(NotConnected):
            await gateway.set_presence(Presence())
        await gateway.open(timeout=10)
        await gateway.close(resumable=True)


async def test_they_wait_through_a_reconnect(propylon_simulator: Start, gateway_to: Any) -> None:
    sim = propylon_simulator()
    gateway: Gateway = gateway_to(sim)
    await gateway.open(timeout=10)
    sim.script("next", steps.not_answer_resume())
    sim.act(steps.reset())
    await sim.wait_for("op", op=6)
    waiting = [asyncio.create_task(gateway.send(31, {"n": 1})), asyncio.create_task(gateway.set_presence(Presence()))]
    done, _ = await asyncio.wait(waiting, timeout=0.03)
    assert not done
    sim.act(steps.close(4000))
    await asyncio.wait_for(asyncio.gather(*waiting), 10)
    await sim.wait_for("op", op=31)
    await sim.wait_for("op", op=3)
    record = sim.record()["connections"]
    by_connection = [[op["op"] for op in connection["ops"] if op["op"] in (3, 31)] for connection in record]
    assert by_connection[:2] == [[], []]
    assert sorted(by_connection[2]) == [3, 31]


async def test_closing_fails_those_that_wait(propylon_simulator: Start, gateway_to: Any) -> None:
    sim = propylon_simulator(scripts={"every": [steps.never_ready()]})
    gateway: Gateway = gateway_to(sim)
    opening = asyncio.create_task(gateway.open())
    await sim.wait_for("op", op=2)
    waiting = [asyncio.create_task(gateway.send(31, {})), asyncio.create_task(gateway.set_presence(Presence()))]
    await asyncio.sleep(0)
    await gateway.close()
    outcomes = await asyncio.gather(opening, *waiting, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [NotConnected] * 3


async def test_a_cancelled_one_is_taken_back(propylon_simulator: Start, gateway_to: Any) -> None:
    sim = propylon_simulator()
    gateway: Gateway = gateway_to(sim)
    await gateway.open(timeout=10)
    sim.script("next", steps.not_answer_resume())
    sim.act(steps.reset())
    await sim.wait_for("op", op=6)
    tasks = [asyncio.create_task(gateway.send(31, {"n": number})) for number in range(3)]
    await asyncio.sleep(0)
    tasks[1].cancel()
    with pytest.raises(asyncio.CancelledError):
        await tasks[1]
    sim.act(steps.close(4000))
    await asyncio.gather(tasks[0], tasks[2])
    await sim.wait_for("op", op=31, count=2)
    assert [payload["d"]["n"] for payload in commands(sim)] == [0, 2]


async def test_of_presences_that_wait_only_the_newest_leaves(propylon_simulator: Start, gateway_to: Any) -> None:
    sim = propylon_simulator()
    gateway: Gateway = gateway_to(sim)
    await gateway.open(timeout=10)
    waiting = [
        asyncio.create_task(gateway.set_presence(Presence(activities=[Activity.playing(str(number))])))
        for number in range(9)
    ]
    await sim.wait_for("op", op=3, count=5)
    await eventually(lambda: sum(task.done() for task in waiting) == 5)
    assert [command["d"]["activities"][0]["name"] for command in commands(sim)] == ["0", "1", "2", "3", "4"]
    # 20 s are not waited for here: the machine's tests have a clock of their own.
    await gateway.close()
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [type(None)] * 5 + [NotConnected] * 4
