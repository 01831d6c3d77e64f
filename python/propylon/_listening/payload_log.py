"""Payloads in the log, without what is secret in them: `Gateway.log_payloads`."""

import logging
from collections.abc import Callable, Iterable
from typing import Any, Final, cast

import orjson

from propylon._base import one_line
from propylon._core import Dispatch, secret_keys

__all__ = ["PAYLOAD_LIMIT", "payload_writer"]

PAYLOAD_LIMIT: Final = 2048
"""Characters of a payload that are logged."""

_HIDDEN: Final = "<hidden>"
_SECRET: Final = frozenset(secret_keys())
"""Keys of READY, VOICE_SERVER_UPDATE, voice states, interactions, webhooks and activities."""

_payloads: Final = logging.getLogger("propylon.payload")


def payload_writer() -> Callable[[Dispatch[Any]], None]:
    """A listener that logs what it gets."""

    def log_payload(dispatch: Dispatch[Any]) -> None:
        if _payloads.isEnabledFor(logging.DEBUG):
            text = _without_secrets(dispatch.raw)
            more = f"... ({len(text)} characters)" if len(text) > PAYLOAD_LIMIT else ""
            event, shown = one_line(dispatch.type), one_line(text[:PAYLOAD_LIMIT])
            extra = {"shard": dispatch.shard_id, "event": event}
            _payloads.debug(
                "shard %d: %s s=%s %s%s", dispatch.shard_id, event, dispatch.sequence, shown, more, extra=extra
            )

    return log_payload


def _without_secrets(raw: bytes) -> str:
    # Parsed rather than searched: a key may be spelled with escapes.
    try:
        return orjson.dumps(_hide(orjson.loads(raw))).decode()
    except (ValueError, TypeError, RecursionError) as error:
        # What cannot be read cannot be searched either.
        return f"<{len(raw)} bytes that are not JSON: {error}>"


def _hide(value: Any) -> Any:
    if isinstance(value, dict):
        fields = cast("dict[str, Any]", value)
        return {key: _HIDDEN if key in _SECRET and item is not None else _hide(item) for key, item in fields.items()}
    if isinstance(value, list):
        return [_hide(item) for item in cast("Iterable[Any]", value)]
    return value
