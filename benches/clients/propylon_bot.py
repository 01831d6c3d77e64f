"""Propylon as the client: one mode for each way to listen."""

from meter import Meter, arguments, run

from propylon import Dispatch, Gateway, Intents, Snowflake, field
from propylon.events import Event, InviteDelete, MessageCreate


class NarrowAuthor(Event, event="MESSAGE_CREATE"):
    """The author of `Narrow`; an `Event` only for the options of its class."""

    id: Snowflake


class Narrow(Event, event="MESSAGE_CREATE"):
    """The three values, and the time stamp."""

    content: str
    channel_id: Snowflake
    author: NarrowAuthor
    nonce: int | str = 0


async def main() -> None:
    gateway = Gateway(
        "token",
        intents=Intents.ALL,
        compression=None if options.compression == "none" else options.compression,
        gateway_url=options.url,
        wake_interval=options.wake_interval,
    )
    meter = Meter(options)

    def finish() -> None:
        metrics = gateway.metrics()
        meter.end(received=metrics.received, wakeups=metrics.wakeups, pauses=metrics.pauses)

    if options.mode == "typed":

        @gateway.listen
        def on_message(message: MessageCreate) -> None:
            _ = message.content, message.author.id, message.channel_id
            meter.messages += 1
            if options.stamp:
                meter.late(message.nonce)

    elif options.mode == "async":

        @gateway.listen
        async def on_message(message: MessageCreate) -> None:
            _ = message.content, message.author.id, message.channel_id
            meter.messages += 1
            if options.stamp:
                meter.late(message.nonce)

    elif options.mode == "narrow":

        @gateway.listen
        def on_message(message: Narrow) -> None:
            _ = message.content, message.author.id, message.channel_id
            meter.messages += 1
            if options.stamp:
                meter.late(message.nonce)

    elif options.mode == "filtered":

        @gateway.listen(where=field("guild_id") == 2)
        def on_any(dispatch: Dispatch) -> None:
            meter.messages += 1

    if options.mode == "batches":
        async with gateway.batches() as batches:
            await gateway.open(timeout=30)
            await meter.begin()
            async for batch in batches:
                meter.messages += len(batch)
                if batch[-1].type == "INVITE_DELETE":
                    finish()
        return

    @gateway.listen
    def on_end(end: InviteDelete) -> None:
        finish()

    await gateway.open(timeout=30)
    await meter.begin()
    await gateway.wait_closed()


options = arguments()
run(main(), options)
