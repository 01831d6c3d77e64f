"""``propylon demo``: a bot, a simulated Discord, and a connection that is cut on the way.

The story is that of ``examples/complete_bot.py``. Owns what happens and what is counted; how it looks is
`propylon.cli._demo_view`'s.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

from propylon import Activity, Closed, Dispatch, Gateway, Intents, OnlineStatus, Presence
from propylon.cli._demo_view import Figures, Verdict, view
from propylon.events import MessageCreate, MessageReactionAdd, Ready, Resumed, UserUpdate
from propylon.testing import Simulator, steps

__all__ = ["Bot", "run_demo", "verdict"]

_TICK: Final = 0.125
_CUT_AT: Final = 0.4
"""Of the whole time."""
_PATIENCE: Final = 10.0
"""Seconds for the last events to arrive."""


class Bot:
    """What a user would write: intents, a presence, listeners. It notes what it sees."""

    def __init__(self, gateway_url: str, tell: Callable[[str], None]) -> None:
        """Make the gateway and its listeners; `Gateway.open` it afterwards."""
        self.calls: Final[Counter[str]] = Counter()
        self.sequences: Final[set[int]] = set()
        """Of the events that listeners were called with."""
        self.marked: Final[asyncio.Queue[int]] = asyncio.Queue()
        self.gateway: Final = Gateway(
            "demo",
            intents=Intents.ALL,
            compression="zstd-stream",
            presence=Presence([Activity.watching("for messages")], status=OnlineStatus.IDLE),
            gateway_url=gateway_url,
            admin="127.0.0.1:0",
        )

        def called(dispatch: Dispatch[Any]) -> None:
            self.calls[dispatch.type] += 1
            if dispatch.sequence is not None:
                self.sequences.add(dispatch.sequence)

        @self.gateway.on_close
        def on_close(closed: Closed) -> None:  # pyright: ignore[reportUnusedFunction]
            how = "was lost" if closed.code is None else f"was closed with {closed.code}"
            tell(f"the connection {how}{', making it anew' if closed.reconnect else ''}")

        @self.gateway.listen
        async def on_ready(ready: Ready, gateway: Gateway, dispatch: Dispatch) -> None:  # pyright: ignore[reportUnusedFunction]
            called(dispatch)
            tell(f"READY as {ready.user.username}, {len(ready.guilds)} guilds")
            await gateway.set_presence(Presence([Activity.playing("the demo")]))

        @self.gateway.listen
        def on_resumed(resumed: Resumed, dispatch: Dispatch) -> None:  # pyright: ignore[reportUnusedFunction]
            called(dispatch)
            tell("RESUMED, what was missed meanwhile has come")

        @self.gateway.listen
        async def on_message(message: MessageCreate, dispatch: Dispatch) -> None:  # pyright: ignore[reportUnusedFunction]
            # Typed fields of every message are read, as a bot would.
            _ = message.author.username, message.content, message.channel_id
            called(dispatch)

        @self.gateway.listen
        def on_reaction(reaction: MessageReactionAdd, dispatch: Dispatch) -> None:  # pyright: ignore[reportUnusedFunction]
            _ = reaction.emoji.name
            called(dispatch)

        @self.gateway.listen
        def on_mark(event: Dispatch[UserUpdate]) -> None:  # pyright: ignore[reportUnusedFunction]
            # Not in the simulator's mix: `_settle` sends it behind the last event.
            called(event)
            self.marked.put_nowait(event.sequence or 0)


async def _settle(simulator: Simulator, bot: Bot) -> dict[str, Any]:
    """Stop the events and let the last one arrive; the simulator's record of the session."""
    simulator.flood(False)
    while True:
        simulator.dispatch("USER_UPDATE", {"id": "1", "username": "demo"})
        mark = await bot.marked.get()
        session: dict[str, Any] = simulator.record()["sessions"][-1]
        # Once in a while an event of the last tick comes behind the mark.
        if session["sequence"] == mark:
            return session


def verdict(session: dict[str, Any] | None, bot: Bot) -> Verdict:
    """The counts of both sides, beside each other.

    The simulator numbers the events of a session without a gap. The engine counts every event that it accepts, and
    apart those whose number was not above the last one; so the difference is how many different numbers arrived.
    """
    metrics = bot.gateway.metrics()
    arrived = metrics.received - metrics.duplicates
    return Verdict(
        sent=0 if session is None else int(session["sequence"]),
        arrived=arrived,
        delivered=metrics.delivered,
        called=len(bot.sequences),
        settled=session is not None,
        resumes=metrics.resumes,
        resumed_calls=bot.calls["RESUMED"],
        identifies=metrics.identifies,
    )


async def run_demo(seconds: float, rate: float, seed: int) -> int:
    """Run it; 0 if the session was resumed and nothing was lost."""
    # A short heartbeat interval, for a latency to show. Ten seconds of replay: Discord's rule would give ten guilds 750
    # events, which this rate uses up in less than the half second that a reconnect takes on a busy machine.
    simulator = Simulator(
        rate=rate, seed=seed, heartbeat_interval=2.0, replay_buffer=int(10 * rate) + 1000, respect_intents=True
    )
    with simulator, view(rate) as show:
        bot = Bot(simulator.url, show.tell)
        gateway = bot.gateway
        await gateway.open(timeout=10)
        async with gateway:
            if gateway.admin_address is not None:
                host, port = gateway.admin_address
                show.tell(f"dashboard at http://{host}:{port}/ while the demo runs")
            start = time.monotonic()
            cut = False
            while (elapsed := time.monotonic() - start) < seconds:
                if not cut and elapsed >= _CUT_AT * seconds:
                    cut = True
                    show.tell("the simulator cuts the connection (TCP reset)")
                    simulator.act(steps.reset())
                show.update(Figures(elapsed, gateway.status, gateway.latency, gateway.metrics()))
                await asyncio.sleep(min(_TICK, seconds - elapsed))
            session: dict[str, Any] | None = None
            try:
                async with asyncio.timeout(_PATIENCE):
                    session = await _settle(simulator, bot)
            except TimeoutError:
                show.tell(f"the last event did not arrive within {_PATIENCE:g} s")
            result = verdict(session, bot)
            show.update(
                Figures(time.monotonic() - start, gateway.status, gateway.latency, gateway.metrics()), last=True
            )
        show.conclude(result)
    return 0 if result.passed else 1
