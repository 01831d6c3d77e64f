"""A line that comes again and again is counted."""

import logging
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from propylon import logs
from propylon.logs import BurstFilter, flush_bursts


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(logs, "monotonic", clock)
    return clock


@pytest.fixture
def logger(caplog: pytest.LogCaptureFixture) -> Iterator[logging.Logger]:
    logger = logging.getLogger("tests.bursts")
    caplog.set_level(logging.DEBUG, logger.name)
    burst = BurstFilter(logger)
    logger.addFilter(burst)
    yield logger
    logger.removeFilter(burst)


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    lines = [record.getMessage() for record in caplog.records]
    caplog.clear()
    return lines


def test_five_in_a_minute_are_written_and_the_others_counted(
    logger: logging.Logger, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(1_239):
        # A delay is not what makes a line another one.
        logger.warning("no connection to %s; again in %.1f s", "here", number / 7)
    assert len(told(caplog)) == 5
    logger.warning("no connection to %s; again in %.1f s", "there", 1.0)
    logger.error("no connection to %s; again in %.1f s", "here", 1.0)
    assert len(told(caplog)) == 2, "other arguments and another level are other lines"
    clock.now += 59.9
    logger.warning("no connection to %s; again in %.1f s", "here", 1.0)
    assert told(caplog) == []
    clock.now += 0.2
    logger.info("something else")
    counted, other = told(caplog)
    assert counted == "no connection to here; again in 0.7 s (… 1,235 more in 60 s)"
    assert other == "something else"
    for _ in range(6):
        logger.warning("no connection to %s; again in %.1f s", "here", 1.0)
    assert len(told(caplog)) == 5, "a new minute"


def test_a_flush_tells_what_was_counted_and_begins_anew(
    logger: logging.Logger, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    (burst,) = (each for each in logger.filters if isinstance(each, BurstFilter))
    for _ in range(7):
        logger.info("x")
    clock.now += 3
    told(caplog)
    burst.flush()
    burst.flush()
    assert told(caplog) == ["x (… 2 more in 3 s)"]
    logger.info("x")
    assert told(caplog) == ["x"]


def test_debug_lines_all_pass(logger: logging.Logger, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(20):
        logger.debug("x")
    assert len(told(caplog)) == 20


def test_memory_is_bounded_and_what_is_beyond_is_written(
    logger: logging.Logger, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    (burst,) = (each for each in logger.filters if isinstance(each, BurstFilter))
    for number in range(5_000):
        logger.info("x %d", number)
    assert len(told(caplog)) == 5_000
    assert len(burst._lines) == logs._LINES
    clock.now += 61
    logger.info("y")
    assert len(burst._lines) == 1


def test_many_threads_lose_no_count(logger: logging.Logger, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    (burst,) = (each for each in logger.filters if isinstance(each, BurstFilter))
    threads = [threading.Thread(target=lambda: [logger.info("x") for _ in range(500)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told(caplog) == ["x"] * 5
    burst.flush()
    assert told(caplog) == ["x (… 3,995 more in 0 s)"]


@pytest.mark.parametrize("name", ["propylon", "propylon.cluster", "propylon.gateway", "propylon.recording"])
def test_our_own_loggers_are_filtered(name: str, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(9):
        logging.getLogger(name).warning("again")
    assert told(caplog) == ["again"] * 5
    flush_bursts()
    assert told(caplog) == ["again (… 4 more in 0 s)"]


QUIET = """
import asyncio, logging
from propylon import Gateway, Intents
from propylon.testing import Simulator, steps

async def main() -> None:
    with Simulator(guilds=2, rate=100, identify_interval=0) as sim:
        gateway = Gateway("token", intents=Intents.ALL, gateway_url=sim.url)
        gateway.log_payloads()
        async with gateway:
            sim.act(steps.close(4000, "go"))
            await sim.wait_for("resumed", count=1)
        WARN
asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("warn", "expected"),
    [
        ("", ""),
        ("[logging.getLogger('propylon.gateway').warning('told') for _ in range(8)]", "told\n" * 5 + "told (… 3 more"),
    ],
)
def test_nothing_but_warnings_is_printed_where_logging_is_not_configured(warn: str, expected: str) -> None:
    code = QUIET.replace("WARN", warn)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-X", "utf8", "-c", code],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stdout == ""
    # A busy machine may stop a listener for as long as is warned of.
    shown = "".join(line for line in done.stderr.splitlines(keepends=True) if "held the event loop" not in line)
    assert shown.startswith(expected)
    assert bool(shown) is bool(expected)


def test_an_argument_whose_repr_logs_does_not_hold_the_filter_up(
    logger: logging.Logger, caplog: pytest.LogCaptureFixture
) -> None:
    class Talks:
        def __repr__(self) -> str:
            logger.info("asked")
            return "Talks()"

    done = threading.Thread(target=lambda: [logger.info("it is %r", Talks()) for _ in range(8)], daemon=True)
    done.start()
    done.join(10)
    assert not done.is_alive()
    assert told(caplog).count("it is Talks()") == 5
