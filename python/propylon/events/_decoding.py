"""From the bytes of an event to Python objects: one decoder per type, made on first use."""

import re
from collections.abc import Callable
from functools import cache
from typing import Any, Final, cast

import msgspec
import orjson

from propylon import _core
from propylon._base import one_line
from propylon._core import Dispatch
from propylon.errors import ModelError
from propylon.events import EVENTS

__all__ = ["decoder_for", "model_error"]


_ADVICE: Final = (
    "`.raw` of its Dispatch has the bytes; a narrow class, or listening to Dispatch, takes what this does not"
)
_TRUNCATED: Final = "Input data was truncated"
_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")


def _decoder_for(kind: Any) -> Callable[[Dispatch[Any]], Any]:
    """What decodes a dispatch into ``kind``. Lax, because Discord writes ids as strings."""
    return msgspec.json.Decoder(kind, strict=False).decode


# Cast: the type of a cache does not take a class as Hashable.
decoder_for: Final = cast("Callable[[Any], Callable[[Dispatch[Any]], Any]]", cache(_decoder_for))


def model_error(dispatch: Dispatch[Any], error: Exception, holder: Dispatch[Any] | None = None) -> ModelError:
    """The error that tells a user which event does not fit, why, and what to do."""
    why = str(error) or type(error).__name__
    if (why == _TRUNCATED or "surrogate" in why) and _SURROGATE.search(dispatch.raw):
        # The payload is whole, whatever msgspec says of half a pair near its end.
        why = "a text holds half of a surrogate pair (\\ud800 to \\udfff), which is no character"
    return ModelError(f"{one_line(dispatch.type)}: {why}; {_ADVICE}", holder)


def _decode(dispatch: Dispatch[Any]) -> Any:
    kind = EVENTS.get(dispatch.type)
    try:
        return decoder_for(kind)(dispatch) if kind else orjson.loads(memoryview(dispatch))
    # Not only msgspec's own errors: deep nesting is a RecursionError, a bad date may be a ValueError.
    except Exception as error:
        failure = model_error(dispatch, error)
    # Not within the handler: the dispatch keeps this error, whose context would keep frames that hold the dispatch, a
    # circle that no collector sees.
    raise failure


def _to_json(dispatch: Dispatch[Any]) -> Any:
    try:
        return orjson.loads(memoryview(dispatch))
    except (RecursionError, ValueError) as error:
        raise model_error(dispatch, error, dispatch) from None


def _decode_as(dispatch: Dispatch[Any], kind: Any) -> Any:
    decode = decoder_for(kind)
    try:
        return decode(dispatch)
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise model_error(dispatch, error, dispatch) from None


def _restore(
    kind: str, raw: bytes, shard_id: int, sequence: int | None, received_at: float, guild_change: Any
) -> Dispatch[Any]:
    return Dispatch(kind, raw, shard_id=shard_id, sequence=sequence, received_at=received_at, guild_change=guild_change)


_core.set_decoders(_decode, _to_json, _decode_as, _restore)
