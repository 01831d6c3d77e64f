"""What a library's cache holds, kept beside its session: the events that made it, in a file for each shard.

A RESUME brings what was missed and nothing else, so a library that goes on with the session of an earlier process needs
the guilds of that process too. Without them the session is not gone on with. A file is as secret as the session.

Owns the files. Which events are in them is `propylon.adapters._compact`'s.
"""

import asyncio
import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

import msgspec

from propylon._sessions.keeping import is_fenced
from propylon._sessions.session import Session
from propylon._sessions.stores import FencedSessionStore, FileSessionStore, SessionStore
from propylon.adapters._compact import KEPT, Kept, compacted

__all__ = ["Cache", "folder_of", "guarded"]

_log: Final = logging.getLogger("propylon")

_MAGIC: Final = b"propylon cache 1\n"
_LEAST: Final = 16 * 1024 * 1024
"""Bytes below which a file is not written anew."""
_READY: Final = "READY"


def folder_of(sessions: SessionStore | None, cache: str | os.PathLike[str] | None) -> Path | None:
    """Where the files stand, as the beginning of their names. Raises ValueError where nobody has said."""
    if sessions is None:
        return None
    if cache is not None:
        folder = Path(cache)
        if not folder.is_dir():
            raise ValueError(f"cache={str(folder)!r} is no folder; make it first")
        return folder / "propylon"
    if isinstance(sessions, FileSessionStore):
        return sessions.path
    raise ValueError(
        "sessions= needs a place for what the library's cache holds, or a resumed bot would know no guilds: add "
        "cache='a folder', or give a FileSessionStore, beside whose file it is kept"
    )


class _Ready(msgspec.Struct):
    session_id: str = ""


def _records(file: BinaryIO) -> Iterator[Kept]:
    """The events of a file, as far as it is whole: the last one may be torn."""
    if file.readline(64) != _MAGIC:
        return
    while True:
        head = file.readline(256).split()
        if len(head) != 2:
            return
        event, size = head
        raw = file.read(int(size))
        if len(raw) < int(size) or file.read(1) != b"\n":
            return
        yield Kept(event.decode(), raw)


def _session_of(ready: bytes) -> str:
    return msgspec.json.decode(ready, type=_Ready).session_id


def _written(events: Iterable[Kept]) -> bytes:
    return b"".join(b"%b %d\n%b\n" % (event.encode(), len(raw), raw) for event, raw in events)


class Cache:
    """What is kept of one shard. `add` is the event loop's, files are written aside."""

    def __init__(self, beginning: Path, key: str) -> None:
        """``key`` is the session's in its store."""
        self._folder: Final = beginning.parent
        self._name: Final = f"{beginning.name}.{key}."
        self._lock: Final = threading.Lock()
        """Held while files are touched."""
        self._waiting: list[Kept] = []
        self._path: Path | None = None
        """Of the file that this process writes."""
        self._size = 0
        self._base = 0
        """Bytes after the last time it was written anew."""
        self._failed: OSError | None = None

    def _files(self) -> list[Path]:
        """Those that are there, the newest first."""
        try:
            names = [name for name in os.listdir(self._folder) if name.startswith(self._name)]
        except OSError:
            return []
        numbered = [(int(name[len(self._name) :]), name) for name in names if name[len(self._name) :].isdigit()]
        return [self._folder / name for _, name in sorted(numbered, reverse=True)]

    def add(self, event: str, raw: bytes) -> None:
        """Keep an event of the session, if it is one to keep."""
        if event == _READY:
            # A new session: nothing before it counts.
            self._waiting.clear()
        if event in KEPT:
            self._waiting.append(Kept(event, raw))

    def has(self, session_id: str) -> bool:
        """Whether the cache of a session is there."""
        return self._of(session_id) is not None

    def _of(self, session_id: str) -> Path | None:
        for path in self._files():
            try:
                with path.open("rb") as file:
                    first = next(_records(file), None)
                is_ready = first is not None and first.event == _READY
                if first is not None and is_ready and _session_of(first.raw) == session_id:
                    return path
            except (OSError, ValueError) as error:
                _log.warning("%s cannot be read: %s", path, error)
        return None

    def load(self, session_id: str) -> list[Kept]:
        """The events that made the cache, which this process goes on with; none where there are none."""
        with self._lock:
            path = self._of(session_id)
            if path is None:
                return []
            with path.open("rb") as file:
                events = compacted(_records(file))
            self._begin(events)
        return events

    def _begin(self, events: list[Kept]) -> None:
        """A new file, in place of all before: another process may still write to its own."""
        self._path = None
        path = self._folder / f"{self._name}{time.time_ns()}"
        temporary = path.with_name(f".{path.name}")
        text = _MAGIC + _written(events)
        try:
            with os.fdopen(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
                file.write(text)
            os.replace(temporary, path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        self._path = path
        self._size = self._base = len(text)
        for older in self._files():
            if older != path:
                # On Windows not while the other process has it open.
                with contextlib.suppress(OSError):
                    older.unlink()

    def write(self, events: list[Kept]) -> None:
        """Put events into the file. Not in the event loop."""
        with self._lock:
            if events and events[0].event == _READY:
                self._begin(events)
                return
            if self._path is None or not events:
                return
            text = _written(events)
            # Opened each time, once a second at most: so nobody has to close it.
            with os.fdopen(os.open(self._path, os.O_APPEND | os.O_WRONLY), "ab") as file:
                file.write(text)
            self._size += len(text)
            if self._size > max(2 * self._base, _LEAST):
                with self._path.open("rb") as file:
                    left = compacted(_records(file))
                self._begin(left)

    async def flush(self) -> None:
        """All that was added is in the file. Raises OSError where it cannot be written, from then on."""
        if self._failed is not None:
            raise self._failed
        events, self._waiting = self._waiting, []
        if not events:
            return
        try:
            try:
                await asyncio.to_thread(self.write, events)
            except RuntimeError:
                # The loop's executor is shut down: the process ends.
                self.write(events)
        except OSError as error:
            # With a hole in it, it is none. Another process may have one of its own by now.
            self._failed = error
            if self._path is not None:
                with contextlib.suppress(OSError):
                    self._path.unlink()
            raise

    def forget(self) -> None:
        """The session has ended."""
        with self._lock:
            self._path = None
            for path in self._files():
                with contextlib.suppress(OSError):
                    path.unlink()


class _Guarded:
    """A store that gives a session only where its cache is there, and saves one when its cache is written."""

    def __init__(self, store: SessionStore, cache_of: Callable[[str], Cache | None]) -> None:
        self._store: Final = store
        self._cache_of: Final = cache_of

    async def load(self, key: str, /) -> Session | None:
        """The session, with its cache."""
        session = await self._store.load(key)
        cache = self._cache_of(key)
        if session is None or cache is None:
            return None
        if not await asyncio.to_thread(cache.has, session.id):
            _log.info("a session is there, and what its cache held is not; identifying anew")
            return None
        return session

    async def save(self, key: str, session: Session, epoch: Any = None, /) -> None:
        """First the cache: a mark that is ahead of it would lose what lies between."""
        cache = self._cache_of(key)
        if cache is not None:
            await cache.flush()
        if is_fenced(self._store):
            await cast("FencedSessionStore", self._store).save(key, session, epoch)
        else:
            await self._store.save(key, session)

    async def delete(self, key: str, epoch: Any = None, /) -> None:
        """Forget the session, and what goes with it."""
        if is_fenced(self._store):
            # Refused where the session is another process's by now: then its cache is, too.
            await cast("FencedSessionStore", self._store).delete(key, epoch)
        else:
            await self._store.delete(key)
        cache = self._cache_of(key)
        if cache is not None:
            await asyncio.to_thread(cache.forget)


class _GuardedFenced(_Guarded):
    """The same over a store that hands out epochs."""

    async def claim(self, key: str, /) -> int:
        """A new epoch."""
        return await cast("FencedSessionStore", self._store).claim(key)


def guarded(store: SessionStore, cache_of: Callable[[str], Cache | None]) -> SessionStore:
    """A store whose sessions are gone on with only together with their caches."""
    return _GuardedFenced(store, cache_of) if is_fenced(store) else _Guarded(store, cache_of)
