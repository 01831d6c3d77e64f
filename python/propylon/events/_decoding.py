"""From the bytes of an event to Python objects: one decoder per type, made on first use.

Owns what happens to an event that its class refuses: it is mended (`propylon.events._reading`), told in
`Dispatch.mended` and in the log, counted, or else a `ModelError`.
"""

import json
import logging
import re
from collections.abc import Callable
from datetime import datetime
from functools import cache
from typing import Any, Final, cast
from weakref import WeakValueDictionary

import msgspec
import orjson

import propylon._core as _core
from propylon._base import one_line
from propylon._core import Dispatch
from propylon.errors import ModelError
from propylon.events import EVENTS
from propylon.events._reading import (
    CHANGED,
    DEFAULT,
    KEPT,
    LEFT_OUT,
    MAX_MENDS,
    MISFIT,
    Key,
    Mend,
    Path,
    Reading,
    cleaned,
    reader_for,
)

__all__ = ["Misfits", "decoder_for", "mend", "model_error"]

_log: Final = logging.getLogger("propylon")

_ADVICE: Final = (
    "`.raw` of its Dispatch has the bytes; a narrow class, or listening to Dispatch, takes what this does not"
)
_TRUNCATED: Final = "Input data was truncated"
_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")

_MAX_LOGGED: Final = 1000
"""Lines that tell of mending, in the life of the process."""
_MAX_PATH: Final = 200
"""Characters of a path, or of a reason, in the log: the keys in it are the server's."""
_MAX_DIGITS: Final = 1000
"""Of a number; Python reads 4,300."""

_logged: Final[set[tuple[str, str]]] = set()
_by_shard: Final[WeakValueDictionary[int, "Misfits"]] = WeakValueDictionary()


class Misfits:
    """What one shard does with events that do not fit, and how many it has mended."""

    def __init__(self, shard: int, *, mending: bool = True) -> None:
        """``shard`` is the key of a `_core.Shard`. Without ``mending``, an event that does not fit is a `ModelError`.

        In force as long as it is kept: a shard without it mends, and does not count.
        """
        self.mending: Final = mending
        self.mended = 0
        """Events of which something was left out, each once, however many classes it was decoded into."""
        _by_shard[shard] = self


def _of(dispatch: Dispatch[Any]) -> Misfits | None:
    shard = _core.owner(dispatch)
    return None if shard is None else _by_shard.get(shard)


def _decoder_for(kind: Any, mending: bool = True) -> Callable[[Dispatch[Any]], Any]:
    """What decodes a dispatch into ``kind``. Lax, because Discord writes ids as strings.

    Raises `ModelError` where the event cannot be mended. Without ``mending`` it is msgspec's own method, cheaper
    by a call in Python, which raises whatever it finds: for a caller that gives the error to `mend`.
    """
    decode = msgspec.json.Decoder(kind, strict=False).decode

    def decode_or_mend(dispatch: Dispatch[Any]) -> Any:
        try:
            return decode(dispatch)
        except Exception as error:
            return mend(dispatch, kind, error)

    return decode_or_mend if mending else decode


# Cast: the type of a cache does not take a class as Hashable.
decoder_for: Final = cast("Callable[..., Callable[[Dispatch[Any]], Any]]", cache(_decoder_for))


def model_error(dispatch: Dispatch[Any], error: Exception, holder: Dispatch[Any] | None = None) -> ModelError:
    """The error that tells a user which event does not fit, why, and what to do."""
    why = str(error) or type(error).__name__
    if (why == _TRUNCATED or "surrogate" in why) and _SURROGATE.search(dispatch.raw):
        # The payload is whole, whatever msgspec says of half a pair near its end.
        why = "a text holds half of a surrogate pair (\\ud800 to \\udfff), which is no character"
    return ModelError(f"{one_line(dispatch.type)}: {why}; {_ADVICE}", holder)


def mend(dispatch: Dispatch[Any], kind: Any, error: Exception) -> Any:
    """What is left of an event that ``kind`` refused with ``error``, once what does not fit is left out.

    Tells of it in `Dispatch.mended`, in the log and in `Misfits.mended`. Raises `ModelError` where the event cannot be
    without it, where more than 16 places do not fit, or where the gateway has been told not to mend.
    """
    value, failure = _mended(dispatch, kind, error)
    if failure is not None:
        raise model_error(dispatch, failure) from None
    return value


def _mended(dispatch: Dispatch[Any], kind: Any, error: Exception) -> tuple[Any, Exception | None]:
    if _core.widen(dispatch):
        # It was refused by what was cut out of it, as which it is said where and why.
        try:
            return msgspec.json.Decoder(kind, strict=False).decode(dispatch), None
        except Exception as whole:
            error = whole
    # What is nested too deeply for msgspec is so for everybody.
    if isinstance(error, RecursionError):
        return None, error
    may_mend = _may_mend(dispatch)
    try:
        tree, reading = _parsed(dispatch)
        if tree is None and may_mend and _has_no_required_field(kind):
            return kind(), None
        value = reader_for(kind)(tree, reading)
    # It is no JSON, nested too deeply, or its class has annotations that say nothing: what msgspec said is nearer.
    except Exception:
        return None, error
    if not may_mend and (value is MISFIT or not all(mend.unchecked for mend in reading.mends)):
        return None, error
    if value is MISFIT:
        return None, _refusal(reading, error)
    if reading.left_out > MAX_MENDS:
        return None, msgspec.ValidationError(f"{error}; more than {MAX_MENDS} places do not fit")
    _tell(dispatch, reading.mends)
    return value, None


def _may_mend(dispatch: Dispatch[Any]) -> bool:
    misfits = _of(dispatch)
    return misfits is None or misfits.mending


def _refusal(reading: Reading, error: Exception) -> Exception:
    path, why = reading.fault
    return msgspec.ValidationError(f"{why} - at `$.{_written(path)}`" if path else why) if why else error


def _has_no_required_field(kind: Any) -> bool:
    return (
        isinstance(kind, type)
        and issubclass(kind, msgspec.Struct)
        and not any(field.required for field in msgspec.structs.fields(kind))
    )


def _parsed(dispatch: Dispatch[Any]) -> tuple[Any, Reading]:
    """Plain JSON, and what reads it. Raises ValueError where it is none, RecursionError where it is too deep."""
    view = memoryview(dispatch)
    try:
        return msgspec.json.decode(view), Reading(halves=False, finite=True)
    # It is no JSON, or holds half of a surrogate pair or a number beyond all floats, which Python takes.
    except msgspec.DecodeError:
        text = str(view, "utf-8")
    try:
        tree = json.loads(text, parse_constant=_refuse)
    except json.JSONDecodeError:
        raise
    # A number of more digits than Python reads.
    except ValueError:
        tree = json.loads(text, parse_constant=_refuse, parse_int=_number)
    return tree, Reading(halves=_SURROGATE.search(view) is not None, finite=False)


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _number(digits: str) -> float:
    return int(digits) if len(digits) <= _MAX_DIGITS else float(digits)


def _written(path: Path, *, pattern: bool = False) -> str:
    """A path as users read it; as a ``pattern``, the same for all elements and entries."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += "[]" if pattern else f"[{step}]"
        elif pattern and isinstance(step, Key):
            text += "[]"
        else:
            text += f".{step}" if text else step
    return text


def _tell(dispatch: Dispatch[Any], mends: list[Mend]) -> None:
    if not mends:
        return
    # Of many, first those that lost something: whoever sends one null sends a thousand.
    told = sorted(range(len(mends)), key=lambda index: mends[index].how == DEFAULT)[:MAX_MENDS]
    paths = list(dict.fromkeys(_written(mends[index].path) for index in sorted(told)))
    if _core.note_mended(dispatch, paths) and (misfits := _of(dispatch)) is not None:
        misfits.mended += 1
    for mend in mends:
        path = _written(mend.path, pattern=True)[:_MAX_PATH]
        line = (dispatch.type, path)
        if len(_logged) >= _MAX_LOGGED or line in _logged:
            continue
        _logged.add(line)
        _log.warning(
            "%s: %s did not fit and was %s (%s); Dispatch.mended tells of each event, further ones like it are not "
            "logged",
            one_line(dispatch.type),
            one_line(path),
            _HOW[mend.how],
            one_line(mend.why[:_MAX_PATH]),
            extra={"shard": dispatch.shard_id, "event": one_line(dispatch.type)},
        )
        if len(_logged) == _MAX_LOGGED:
            _log.warning("%d places did not fit; from now on only Dispatch.mended tells of new ones", _MAX_LOGGED)


_HOW: Final = {
    LEFT_OUT: "left out",
    DEFAULT: "given its default",
    CHANGED: "read with a loss",
    KEPT: "kept as it was sent",
}


def _plain(dispatch: Dispatch[Any], error: Exception) -> tuple[Any, Exception | None]:
    """Plain JSON of what orjson refuses: with halves of surrogate pairs replaced."""
    try:
        tree, reading = _parsed(dispatch)
        if not (reading.halves and _may_mend(dispatch)):
            return None, error
        tree = cleaned(tree, reading)
    except (RecursionError, ValueError):
        return None, error
    _tell(dispatch, reading.mends)
    return tree, None


def _decode(dispatch: Dispatch[Any]) -> Any:
    kind = EVENTS.get(dispatch.type)
    try:
        return decoder_for(kind)(dispatch) if kind else _to_json(dispatch)
    except ModelError as error:
        message = str(error)
    # Not within the handler: the dispatch keeps this error, whose context would keep frames that hold the dispatch, a
    # circle that no collector sees.
    raise ModelError(message)


def _to_json(dispatch: Dispatch[Any]) -> Any:
    try:
        return orjson.loads(memoryview(dispatch))
    except (RecursionError, ValueError) as error:
        tree, failure = _plain(dispatch, error)
        if failure is not None:
            raise model_error(dispatch, failure, dispatch) from None
        return tree


def _decode_as(dispatch: Dispatch[Any], kind: Any) -> Any:
    try:
        return decoder_for(kind)(dispatch)
    except ModelError as error:
        raise ModelError(str(error), dispatch) from None


def _restore(
    kind: str,
    raw: bytes,
    shard_id: int,
    sequence: int | None,
    received_at: float,
    guild_change: Any,
    received_time: datetime | None = None,
) -> Dispatch[Any]:
    return Dispatch(
        kind,
        raw,
        shard_id=shard_id,
        sequence=sequence,
        received_at=received_at,
        guild_change=guild_change,
        received_time=received_time,
    )


_core.set_decoders(_decode, _to_json, _decode_as, _restore)
