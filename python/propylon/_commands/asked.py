"""What users ask of a command, checked and as Discord takes it: alike for a gateway and for a worker of a cluster.

Owns no intents, which a worker does not know, and no sending.
"""

import math
import secrets
from collections.abc import Iterable
from typing import Any, Final

from propylon._commands.payloads import id_of, ids_of
from propylon.errors import CommandError

__all__ = ["check_opcode", "members_query", "seconds_of", "voice_state"]

_NOT_THE_USERS: Final = {1: "heartbeats", 2: "IDENTIFY", 6: "RESUME"}
_MAX_USER_IDS: Final = 100
_MAX_NONCE_BYTES: Final = 32


def check_opcode(op: int) -> None:
    """Raise CommandError for what is no opcode, and for one that the engine sends by itself."""
    if isinstance(op, bool) or not isinstance(op, int) or not 0 <= op <= 255:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise CommandError(f"an opcode is a number from 0 to 255, not {op!r}")
    if op in _NOT_THE_USERS:
        raise CommandError(f"opcode {op} is the engine's: it sends {_NOT_THE_USERS[op]} by itself")


def seconds_of(timeout: Any) -> float | None:
    """Seconds above 0, or None. Raises CommandError for anything else."""
    if timeout is None:
        return None
    is_number = isinstance(timeout, int | float) and not isinstance(timeout, bool)
    if not (is_number and math.isfinite(timeout) and timeout > 0):
        raise CommandError(f"timeout must be a number of seconds above 0, or None, not {timeout!r}")
    return float(timeout)


def voice_state(
    guild_id: int | str, channel_id: int | str | None, *, self_mute: bool, self_deaf: bool
) -> dict[str, Any]:
    """The data of op 4. Raises CommandError for what cannot be sent."""
    guild = id_of("guild_id", guild_id)
    channel = None if channel_id is None else id_of("channel_id", channel_id)
    for name, value in (("self_mute", self_mute), ("self_deaf", self_deaf)):
        if not isinstance(value, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise CommandError(f"{name} must be True or False, not {value!r}")
    return {"guild_id": guild, "channel_id": channel, "self_mute": self_mute, "self_deaf": self_deaf}


def members_query(
    guild_id: int | str,
    *,
    user_ids: Iterable[int | str] | None,
    query: str | None,
    limit: int | None,
    presences: bool,
    nonce: str | None,
) -> dict[str, Any]:
    """The data of op 8, with a nonce. Raises CommandError for what cannot be sent."""
    data: dict[str, Any] = {"guild_id": id_of("guild_id", guild_id)}
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or not 0 <= limit <= 100):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise CommandError(f"limit must be a whole number from 0 to 100, not {limit!r}")
    if user_ids is not None:
        if query is not None:
            raise CommandError("query and user_ids exclude each other; make two requests")
        data["user_ids"] = ids_of("user_ids", user_ids, _MAX_USER_IDS)
        if limit is not None:
            data["limit"] = int(limit)
    else:
        if query is not None and not isinstance(query, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise CommandError(f"query must be a str, not {type(query).__name__}")
        data["query"] = query or ""
        data["limit"] = (100 if query else 0) if limit is None else int(limit)
    if not isinstance(presences, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise CommandError(f"presences must be True or False, not {presences!r}")
    if presences:
        data["presences"] = True
    data["nonce"] = _nonce(nonce)
    return data


def _nonce(nonce: object) -> str:
    """One's own, checked, or one that no other request has: also none of an earlier process in the same session."""
    if nonce is None:
        return secrets.token_hex(8)
    if not isinstance(nonce, str) or not nonce:
        raise CommandError(f"nonce must be a str that is not empty, not {nonce!r}")
    size = len(nonce.encode(errors="surrogatepass"))
    if size > _MAX_NONCE_BYTES:
        raise CommandError(f"nonce is {size} bytes, Discord takes {_MAX_NONCE_BYTES} and ignores longer ones")
    return nonce
