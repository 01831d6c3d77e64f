"""Where sessions outlive a process: the protocols of a store, and the one that is a file.

When a gateway saves, and how far a session then counts as handled, is `propylon._sessions.keeping`'s.
"""

import asyncio
import contextlib
import errno
import glob
import json
import logging
import os
import tempfile
import threading
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar, cast

from propylon._sessions.locks import acquire, release
from propylon._sessions.session import Session
from propylon.errors import SessionTakenOver

__all__ = ["FencedSessionStore", "FileSessionStore", "SessionStore"]

_log: Final = logging.getLogger("propylon")

_T = TypeVar("_T")

_VERSION: Final = 1
_ABANDONED: Final = 60.0
"""Seconds after which a file that is being written is no longer being written."""
_LOCK_PATIENCE: Final = 5.0
"""Seconds to wait for other processes, each of which holds the lock for some milliseconds."""
_LOCK_POLL: Final = 0.005


class SessionStore(Protocol):
    """Keeps sessions over restarts: ``Gateway(token, sessions=store)``. Any object with these three methods is one.

    A key is made of the bot's id, the shard and a hash of the token, in letters, digits and dashes; so one store serves
    any number of shards and bots, and a session is never offered to another token. A `Session` becomes plain JSON by
    `Session.to_dict` and is made again by `Session.from_dict`; it is as secret as a password.

    What a method raises is logged and costs no more than the session: the gateway goes on.

    Two processes with the same bot and shard would take the session from each other for ever. A store that is to be
    shared by them is a `FencedSessionStore`.
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


class FencedSessionStore(SessionStore, Protocol):
    """A `SessionStore` that lets one process take the session over from another, as the new version of a bot does.

    Each `Gateway.open` claims its key and gets an **epoch**, above all that the store has given out for the key before.
    With any but the newest, ``save`` and ``delete`` change nothing and raise `SessionTakenOver`: compare and set, in
    one step, for other processes do the same meanwhile. A gateway that hears of it ends. It asks once a second where
    something moved, and before each RESUME and IDENTIFY.
    """

    async def claim(self, key: str, /) -> int:
        """Return a new epoch; those given out for this key before are void.

        Raises:
            FileNotFoundError, NotADirectoryError, PermissionError: The store is set up wrong. These end `Gateway.open`,
                other errors are logged.
        """
        ...

    async def save(self, key: str, session: Session, epoch: int | None = None, /) -> None:
        """Keep it in place of the one before. With None the epoch is not looked at.

        Raises:
            SessionTakenOver: The epoch is not the newest.
        """
        ...

    async def delete(self, key: str, epoch: int | None = None, /) -> None:
        """Forget the session, not the epoch. No error where there is no session.

        Raises:
            SessionTakenOver: The epoch is not the newest.
        """
        ...


class FileSessionStore:
    """A `FencedSessionStore` in one JSON file, for any number of shards, bots and processes on one machine.

    The file is replaced as a whole, so that it is never half written, and only its owner may read it. Beside it lies an
    empty file, ``.<name>.lock``, by whose lock processes write one after the other; the system lets go of it with the
    process. The folder should not be a network's, where such locks are not reliable.
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

    async def claim(self, key: str, /) -> int:
        """Return a new epoch; whoever has an earlier one has lost the session.

        Raises:
            FileNotFoundError, NotADirectoryError: The file's folder is not there.
            OSError: The file cannot be written.
        """
        return await _aside(self._claim, key)

    async def save(self, key: str, session: Session, epoch: int | None = None, /) -> None:
        """Keep it.

        Raises:
            SessionTakenOver: The epoch is not the newest.
            OSError: The file cannot be written.
        """
        await _aside(self._change, key, session, epoch)

    async def delete(self, key: str, epoch: int | None = None, /) -> None:
        """Forget it.

        Raises:
            SessionTakenOver: The epoch is not the newest.
            OSError: The file cannot be written.
        """
        await _aside(self._change, key, None, epoch)

    def _claim(self, key: str) -> int:
        self._check_folder()
        with self._locked():
            entries, epochs = self._read()
            # Not counted from 1: an epoch that was forgotten with its file must not come again.
            epoch = epochs[key] = max(int(time.time() * 1000), epochs.get(key, 0) + 1)
            self._write(entries, epochs)
        return epoch

    def _check_folder(self) -> None:
        folder = self._path.parent
        if folder.is_dir():
            return
        kind, number = (NotADirectoryError, errno.ENOTDIR) if folder.exists() else (FileNotFoundError, errno.ENOENT)
        advice = "FileSessionStore writes its file into a folder that is there; make it, or name another"
        raise kind(number, advice, str(folder))

    @contextlib.contextmanager
    def _locked(self) -> Generator[None, None, None]:
        """Nobody else changes the file meanwhile, neither a thread of this process nor another one."""
        with _lock:
            descriptor = os.open(self._path.with_name(f".{self._path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
            try:
                self._wait_for_lock(descriptor)
                try:
                    yield
                finally:
                    # Not left to the closing: a child that was forked meanwhile has the descriptor too.
                    release(descriptor)
            finally:
                os.close(descriptor)

    def _wait_for_lock(self, descriptor: int) -> None:
        end = time.monotonic() + _LOCK_PATIENCE
        while not acquire(descriptor):
            if time.monotonic() > end:
                raise TimeoutError(
                    f"another process has held the lock of {self._path} for {_LOCK_PATIENCE:g} s; see whether it hangs"
                )
            time.sleep(_LOCK_POLL)

    def _load(self, key: str) -> Session | None:
        with _lock:
            self._tidy()
            # Without the lock of processes: whoever writes replaces the file as a whole.
            entry = self._read()[0].get(key)
        if entry is None or self._is_old(entry):
            return None
        try:
            return Session.from_dict(entry["session"])
        except (KeyError, ValueError) as error:
            _log.warning("the session in %s cannot be read (%s); identifying anew", self._path, error)
            return None

    def _change(self, key: str, session: Session | None, epoch: int | None) -> None:
        with self._locked():
            entries, epochs = self._read()
            # An epoch that the file does not know is taken for the newest: then somebody has removed the file.
            if epoch is not None and epochs.setdefault(key, epoch) != epoch:
                raise SessionTakenOver
            if session is None and key not in entries:
                return
            kept = {other: entry for other, entry in entries.items() if other != key and not self._is_old(entry)}
            if session is not None:
                kept[key] = {"saved_at": time.time(), "session": session.to_dict()}
            # An epoch is the time of its claim. Whoever holds an old one without a session puts it back when it saves.
            oldest = (time.time() - self._max_age) * 1000
            known = {one: epoch for one, epoch in epochs.items() if one == key or one in kept or epoch > oldest}
            self._write(kept, known)

    def _is_old(self, entry: dict[str, Any]) -> bool:
        saved_at = entry.get("saved_at")
        return not isinstance(saved_at, int | float) or time.time() - saved_at > self._max_age

    def _read(self) -> tuple[dict[str, dict[str, Any]], dict[str, int]]:
        """The sessions and the epochs in the file."""
        try:
            content = json.loads(self._path.read_bytes())
        except FileNotFoundError:
            return {}, {}
        except (ValueError, RecursionError) as error:
            _log.warning("%s is no file of sessions (%s); identifying anew", self._path, error)
            return {}, {}
        sessions = content.get("sessions") if isinstance(content, dict) and content.get("version") == _VERSION else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        if not isinstance(sessions, dict):
            _log.warning("%s is no file of sessions, or one of another version; identifying anew", self._path)
            return {}, {}
        entries = cast("dict[str, Any]", sessions)
        epochs: Any = cast("dict[str, Any]", content).get("epochs")
        known = cast("dict[str, Any]", epochs) if isinstance(epochs, dict) else {}
        return (
            {key: entry for key, entry in entries.items() if isinstance(entry, dict)},
            {key: epoch for key, epoch in known.items() if isinstance(epoch, int)},
        )

    def _tidy(self) -> None:
        """Removes what a process left that was killed while it wrote: it holds sessions, too."""
        for left in self._path.parent.glob(f".{glob.escape(self._path.name)}.*.new"):
            with contextlib.suppress(OSError):
                if time.time() - left.stat().st_mtime > _ABANDONED:
                    left.unlink()

    def _write(self, entries: dict[str, dict[str, Any]], epochs: dict[str, int]) -> None:
        text = json.dumps({"version": _VERSION, "sessions": entries, "epochs": epochs}, indent=1)
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
