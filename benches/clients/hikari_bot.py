"""hikari as the client: `GatewayBot` with all caches off, its REST face and gateway the simulator's.

Events without a listener it does not deserialise. zstd-stream needs backports.zstd, which is installed.
"""

import hikari
from hikari.impl import CacheSettings, config
from meter import Meter, arguments, run


async def main() -> None:
    meter = Meter(options)
    bot = hikari.GatewayBot(
        # hikari reads the bot's id from its first part
        "MTIzNDU2Nzg5MDEyMzQ1Njc4.simulator.simulator",
        banner=None,
        logs=None,
        intents=hikari.Intents.ALL,
        cache_settings=CacheSettings(components=config.CacheComponents.NONE),
        auto_chunk_members=False,
        rest_url=options.api_url,
        suppress_optimization_warning=True,
    )

    @bot.listen()
    async def on_ready(_: hikari.ShardReadyEvent) -> None:
        await meter.begin()

    @bot.listen()
    async def on_message(event: hikari.MessageCreateEvent) -> None:
        message = event.message
        _ = message.content, message.author.id, message.channel_id
        meter.messages += 1
        if options.stamp:
            meter.late(message.nonce)

    @bot.listen()
    async def on_invite_delete(_: hikari.InviteDeleteEvent) -> None:
        meter.end(version=hikari.__version__)

    await bot.start(check_for_updates=False, shard_ids=[0], shard_count=1)
    await bot.join()


options = arguments()
run(main(), options)
