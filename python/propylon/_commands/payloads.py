"""Commands on their way out: what may be sent."""

import json
from collections.abc import Iterable
from typing import Any, Final

from propylon.errors import CommandError, CommandTooLarge
from propylon.presence import Presence

__all__ = ["id_of", "ids_of", "json_of", "payload_of", "presence_json"]

_MAX_BYTES: Final = 4096
_MAX_ID_DIGITS: Final = 20


def json_of(data: Any) -> str:
    """Compact JSON. Raises CommandError for what JSON cannot hold."""
    try:
        # Not orjson: it writes NaN as null, and a wrong command must not leave.
        text = json.dumps(data, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
        text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise CommandError(f"not possible in JSON: {error}") from None
    return text


def id_of(name: str, value: Any) -> str:
    """An id as Discord writes it. Raises CommandError for what is no id."""
    digits = isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= _MAX_ID_DIGITS
    number = int(value) if digits or (isinstance(value, int) and not isinstance(value, bool)) else 0
    if not 0 < number < 1 << 64:
        raise CommandError(f"{name} must be an id, a whole number or its digits, not {value!r:.100}")
    return str(number)


def ids_of(name: str, values: Iterable[object], most: int | None = None) -> list[str]:
    """Several ids, each once. Raises CommandError for none, for more than ``most``, and for what is no id."""
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise CommandError(f"{name} must be a list of ids, not {values!r:.100}")
    ids = list(dict.fromkeys(id_of(name, value) for value in values))
    if not ids:
        raise CommandError(f"{name} is empty")
    if most is not None and len(ids) > most:
        raise CommandError(f"{name} has {len(ids)} ids, Discord takes {most}; make several requests")
    return ids


def presence_json(presence: Presence) -> str:
    """The data of op 3. Raises CommandError for values that are none of a presence."""
    try:
        payload = presence.payload()
    except (AttributeError, TypeError, ValueError) as error:
        raise CommandError(f"not a presence: {error}") from None
    return json_of(payload)


def payload_of(op: int, data: str) -> str:
    """The whole payload. Raises CommandTooLarge over 4,096 bytes of UTF-8."""
    payload = f'{{"op":{op},"d":{data}}}'
    size = len(payload.encode())
    if size > _MAX_BYTES:
        raise CommandTooLarge(f"the payload is {size} bytes, Discord takes {_MAX_BYTES}")
    return payload
