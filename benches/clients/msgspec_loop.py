"""The loop that a good engineer writes by hand: aiohttp, zstandard or zlib, msgspec. No resume, no rate limits.

The envelope is decoded with its ``d`` left as it is; ``typed`` decodes MESSAGE_CREATE into Propylon's own class,
``narrow`` into a class of the three values, ``nobody`` into nothing.
"""

import asyncio
import zlib
from typing import Any

import aiohttp
import msgspec
import zstandard
from meter import Meter, arguments, run

ALL_INTENTS = 0x331FFFF


class Envelope(msgspec.Struct, gc=False):
    op: int
    d: msgspec.Raw
    s: int | None = None
    t: str | None = None


class NarrowAuthor(msgspec.Struct, gc=False):
    id: int


class Narrow(msgspec.Struct, gc=False):
    content: str
    channel_id: int
    author: NarrowAuthor
    nonce: int | str = 0


def inflater() -> Any:
    """One for the whole connection: bytes of a message to its document."""
    match options.compression:
        case "zstd-stream":
            # 16 KiB: with the default of 128 KiB each call allocates as much.
            return zstandard.ZstdDecompressor().decompressobj(write_size=16 * 1024).decompress
        case "zlib-stream":
            return zlib.decompressobj().decompress
        case _:
            return None


def message_decoder() -> Any:
    match options.mode:
        case "typed":
            from propylon.events import MessageCreate

            return msgspec.json.Decoder(MessageCreate, strict=False).decode
        case "narrow":
            return msgspec.json.Decoder(Narrow, strict=False).decode
        case _:
            return None


async def beat(socket: aiohttp.ClientWebSocketResponse, interval: float, last: list[int | None]) -> None:
    while True:
        await asyncio.sleep(interval)
        await socket.send_json({"op": 1, "d": last[0]})


async def main() -> None:
    meter = Meter(options)
    inflate, decode_message = inflater(), message_decoder()
    decode = msgspec.json.Decoder(Envelope).decode
    url = f"{options.url}/?v=10&encoding=json"
    if inflate is not None:
        url += f"&compress={options.compression}"
    identify = {
        "op": 2,
        "d": {"token": "token", "intents": ALL_INTENTS, "properties": {"os": "", "browser": "", "device": ""}},
    }
    last: list[int | None] = [None]
    tasks: list[asyncio.Task[None]] = []
    stamped = options.stamp
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(url, max_msg_size=0, decode_text=False) as socket,
    ):
        async for message in socket:
            data = message.data
            envelope = decode(data if inflate is None else inflate(data))
            op = envelope.op
            if op == 0:
                last[0] = envelope.s
                event = envelope.t
                if event == "MESSAGE_CREATE":
                    if decode_message is not None:
                        created = decode_message(envelope.d)
                        _ = created.content, created.author.id, created.channel_id
                        meter.messages += 1
                        if stamped:
                            meter.late(created.nonce)
                elif event == "READY":
                    tasks.append(asyncio.create_task(meter.begin()))
                elif event == "INVITE_DELETE":
                    meter.end()
            elif op == 10:
                interval = msgspec.json.decode(envelope.d)["heartbeat_interval"] / 1000
                tasks.append(asyncio.create_task(beat(socket, interval, last)))
                await socket.send_json(identify)
            elif op == 1:
                await socket.send_json({"op": 1, "d": last[0]})


options = arguments()
run(main(), options)
