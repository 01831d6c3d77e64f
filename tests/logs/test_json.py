"""`JsonFormatter`: one object a line, whatever the record holds."""

import json
import logging
import sys
from datetime import datetime
from typing import Any

import pytest

from face.support import eventually, make_gateway
from propylon.logs import JsonFormatter
from propylon.testing import Simulator, steps


def record(message: object = "hi %s", *args: object, **extra: Any) -> logging.LogRecord:
    made = logging.getLogger("propylon.x").makeRecord(
        "propylon.x", logging.WARNING, "file.py", 1, message, args, None, extra=extra
    )
    made.created = 1764347000.1234
    return made


def written(made: logging.LogRecord) -> dict[str, Any]:
    line = JsonFormatter().format(made)
    assert "\n" not in line
    fields: dict[str, Any] = json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    return fields


def test_the_keys_of_a_line() -> None:
    assert written(record("hi %s", "ada\n", shard=3, event="MESSAGE_CREATE")) == {
        "time": "2025-11-28T16:23:20.123+00:00",
        "level": "WARNING",
        "logger": "propylon.x",
        "message": "hi ada\n",
        "shard": 3,
        "event": "MESSAGE_CREATE",
    }
    assert datetime.fromisoformat(written(record("x"))["time"]).timestamp() == pytest.approx(1764347000.123)


def test_an_exception_is_text() -> None:
    try:
        raise ValueError("out of \ud800 luck")
    except ValueError:
        made = record("failed")
        made.exc_info = sys.exc_info()
    fields = written(made)
    assert fields["exception"].startswith("Traceback (most recent call last):\n")
    assert fields["exception"].endswith("ValueError: out of \ud800 luck")
    made = record("here")
    made.stack_info = "Stack (most recent call last):\n  here"
    assert written(made)["exception"] == made.stack_info


class OddMapping(dict[str, int]):
    def items(self) -> Any:
        raise RuntimeError("no")


class Odd:
    def __repr__(self) -> str:
        raise RuntimeError("no")


def circle() -> list[Any]:
    one: list[Any] = []
    one.append(one)
    return one


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (float("nan"), "nan"),
        (b"\xff", "b'\\xff'"),
        ({1}, "{1}"),
        (1 << 80, 1 << 80),
        ({(1, 2): 3}, "{(1, 2): 3}"),
        ("\ud800", "\ud800"),
        ({"a": [None, True, 1.5]}, {"a": [None, True, 1.5]}),
        (Odd(), "<Odd whose repr raises RuntimeError>"),
        (circle(), "[[...]]"),
        (OddMapping(a=1), "{'a': 1}"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_odd_values_are_text(value: object, expected: object) -> None:
    assert written(record("x", value=value))["value"] == expected


def test_a_time_that_is_no_date_is_text() -> None:
    made = record("x")
    made.created = 1e20
    assert written(made)["time"] == "1e+20"


@pytest.mark.parametrize(
    ("message", "args", "expected"),
    [
        ("%d %d", (1,), "%d %d (1,)"),
        ("%s", (Odd(),), "%s <tuple whose repr raises RuntimeError>"),
        (7, (), "7"),
        (Odd(), (), "<Odd whose repr raises RuntimeError> ()"),
    ],
)
def test_a_message_that_cannot_be_made_is_written_all_the_same(
    message: object, args: tuple[object, ...], expected: str
) -> None:
    assert written(record(message, *args))["message"] == expected


@pytest.mark.asyncio
async def test_lines_about_a_shard_and_an_event_say_so(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "propylon")
    caplog.set_level(logging.DEBUG, "propylon.payload")
    with Simulator(guilds=0, shards=4, identify_interval=0) as sim:
        gateway = make_gateway(sim, shard=(2, 4))
        gateway.log_payloads("GUILD_TOMORROW")

        async with gateway:
            sim.dispatch("GUILD_TOMORROW", {})
            await eventually(lambda: "GUILD_TOMORROW" in caplog.text)
            sim.act(steps.close(4000, "go"))
            await eventually(lambda: "RESUMED" in caplog.text)
    fields = [written(made) for made in caplog.records]
    assert {line.get("shard") for line in fields if line["logger"] == "propylon.gateway"} == {2}
    (payload,) = (line for line in fields if line["logger"] == "propylon.payload")
    assert (payload["shard"], payload["event"]) == (2, "GUILD_TOMORROW")
