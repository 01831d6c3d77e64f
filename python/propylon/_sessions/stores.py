"""Where sessions outlive a process: the protocol of a store, and the one that is a file.

When a gateway saves, and how far a session then counts as handled, is `propylon._sessions.keeping`'s.
"""

import asyncio
import contextlib
import glob
import json
import logging
import os
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar, cast

from propylon._sessions.session import Session

__all__ = ["FileSessionStore", "SessionStore"]

_log: Final = logging.getLogger("propylon")

_T = TypeVar("_T")

_VERSION: Final = 1
_ABANDONED: Final = 60.0
"""Seconds after which a file that is being written is no longer being written."""


class SessionStore(Protocol):
    """Keeps sessions over restarts: ``Gateway(token, sessions=store)``. Any object with these three methods is one.

    A key is made of the bot's id, the shard and a hash of the token, in letters, digits and dashes; so one store serves
    any number of shards and bots, and a session is never offered to another token. A `Session` becomes plain JSON by
    `Session.to_dict` and is made again by `Session.from_dict`; it is as secret as a password.

    What a method raises is logged and costs no more than the session: the gateway goes on.
    """

    async def load(self, key: str, /) -> Session | None:
        """Return what was saved last; None where there is nothing, or nothing that could still be resumed."""
        ...

    async def save(self, key: str, session: Session, /) -> None:
        """Keep it in place of the one before. Called once a second at most, and when the gateway closes."""
        ...

    async def delete(self, key: str, /) -> None:
        """Forget it: Discord has ended the session. No error where there is none."""
        ...


class FileSessionStore:
    """A `SessionStore` in one JSON file, for any number of shards of one process.

    The file is replaced as a whole, so that it is never half written, and only its owner may read it. One process at a
    time writes to a file: give each bot that runs beside another a file of its own.
    """

    def __init__(self, path: str | os.PathLike[str], *, max_age: float = 600.0) -> None:
        """Keep sessions in the file ``path``; its folder must be there.

        Args:
            path: Of the file.
            max_age: Seconds after which a session is not tried any more. Discord keeps a session for a few minutes
                after its connection ends; trying an older one costs a moment, and no more.

        Raises:
            ValueError: ``max_age`` is no number above 0.
        """
        if isinstance(max_age, bool) or not isinstance(max_age, int | float) or not max_age > 0:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ValueError(f"max_age must be a number of seconds above 0, not {max_age!r}")
        # A program that changes its folder meanwhile still finds it.
        self._path: Final = Path(path).absolute()
        self._max_age: Final = max_age

    def __repr__(self) -> str:
        """Where it is."""
        return f"FileSessionStore({str(self._path)!r})"

    async def load(self, key: str, /) -> Session | None:
        """Return the session; None where there is none, or one that is too old or cannot be read."""
        return await _aside(self._load, key)

    async def save(self, key: str, session: Session, /) -> None:
        """Keep it. Raises OSError where the file cannot be written."""
        await _aside(self._change, key, session)

    async def delete(self, key: str, /) -> None:
        """Forget it. Raises OSError where the file cannot be written."""
        await _aside(self._change, key, None)

    def _load(self, key: str) -> Session | None:
        with _lock:
            self._tidy()
            entry = self._read().get(key)
        if entry is None or self._is_old(entry):
            return None
        try:
            return Session.from_dict(entry["session"])
        except (KeyError, ValueError) as error:
            _log.warning("the session in %s cannot be read (%s); identifying anew", self._path, error)
            return None

    def _change(self, key: str, session: Session | None) -> None:
        # Gateways of several shards, in threads of the loop's executor: one after the other.
        with _lock:
            entries = self._read()
            if session is None and key not in entries:
                return
            kept = {other: entry for other, entry in entries.items() if other != key and not self._is_old(entry)}
            if session is not None:
                kept[key] = {"saved_at": time.time(), "session": session.to_dict()}
            self._write(kept)

    def _is_old(self, entry: dict[str, Any]) -> bool:
        saved_at = entry.get("saved_at")
        return not isinstance(saved_at, int | float) or time.time() - saved_at > self._max_age

    def _read(self) -> dict[str, dict[str, Any]]:
        try:
            content = json.loads(self._path.read_bytes())
        except FileNotFoundError:
            return {}
        except (ValueError, RecursionError) as error:
            _log.warning("%s is no file of sessions (%s); identifying anew", self._path, error)
            return {}
        sessions = content.get("sessions") if isinstance(content, dict) and content.get("version") == _VERSION else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        if not isinstance(sessions, dict):
            _log.warning("%s is no file of sessions, or one of another version; identifying anew", self._path)
            return {}
        entries = cast("dict[str, Any]", sessions)
        return {key: entry for key, entry in entries.items() if isinstance(entry, dict)}

    def _tidy(self) -> None:
        """Removes what a process left that was killed while it wrote: it holds sessions, too."""
        for left in self._path.parent.glob(f".{glob.escape(self._path.name)}.*.new"):
            with contextlib.suppress(OSError):
                if time.time() - left.stat().st_mtime > _ABANDONED:
                    left.unlink()

    def _write(self, entries: dict[str, dict[str, Any]]) -> None:
        text = json.dumps({"version": _VERSION, "sessions": entries}, indent=1)
        # Beside the file, because a rename is atomic within a file system only. mkstemp's mode is 0600.
        descriptor, name = tempfile.mkstemp(dir=self._path.parent, prefix=f".{self._path.name}.", suffix=".new")
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, self._path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise


_lock = threading.Lock()
"""Of all files: several stores may share one, and a write takes a millisecond."""


def _unlock() -> None:
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):  # not on Windows
    # A thread of the parent may have held it.
    os.register_at_fork(after_in_child=_unlock)


async def _aside(function: Callable[..., _T], *arguments: Any) -> _T:
    """What touches the disk, off the event loop."""
    try:
        return await asyncio.to_thread(function, *arguments)
    except RuntimeError:
        # The loop's executor is shut down: the process ends, and nobody minds the wait.
        return function(*arguments)
