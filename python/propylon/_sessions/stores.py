"""Where sessions outlive a process: the protocols of a store, and the one that is a file.

When a gateway saves, and how far a session then counts as handled, is `propylon._sessions.keeping`'s.
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar, cast

import msgspec

from propylon._sessions.files import SharedFile
from propylon._sessions.session import Session
from propylon.errors import SessionTakenOver

__all__ = ["FencedSessionStore", "FileSessionStore", "FleetSessionStore", "SessionStore"]

_log: Final = logging.getLogger("propylon")

_T = TypeVar("_T")

_VERSION: Final = 1


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


class FleetSessionStore(FencedSessionStore, Protocol):
    """A `FencedSessionStore` that is asked for many keys at once, for a fleet of hundreds of shards.

    A store without these methods serves a fleet as well; it is called key by key.
    """

    async def load_all(self, keys: Sequence[str], /) -> dict[str, Session]:
        """Return what was saved last under these keys, without those of which there is nothing to resume."""
        ...

    async def claim_all(self, keys: Sequence[str], /) -> dict[str, int]:
        """Return a new epoch for each key.

        Raises:
            FileNotFoundError, NotADirectoryError, PermissionError: The store is set up wrong.
        """
        ...

    async def save_all(self, changes: Mapping[str, tuple[Session | None, int | None]], /) -> set[str]:
        """Keep or forget many sessions in one write, each compared and set for itself.

        Args:
            changes: By key, the session, None to forget it, and its epoch. With None the epoch is not looked at.

        Returns:
            The keys whose epoch is not the newest. These are as before, all others are changed.
        """
        ...


class FileSessionStore:
    """A `FleetSessionStore` in one JSON file, for any number of shards, bots and processes on one machine.

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
        self._file: Final = SharedFile(path, "FileSessionStore")
        self._max_age: Final = max_age

    def __repr__(self) -> str:
        """Where it is."""
        return f"FileSessionStore({str(self._file.path)!r})"

    @property
    def path(self) -> Path:
        """Of the file."""
        return self._file.path

    async def load(self, key: str, /) -> Session | None:
        """Return the session; None where there is none, or one that is too old or cannot be read."""
        return (await self.load_all([key])).get(key)

    async def load_all(self, keys: Sequence[str], /) -> dict[str, Session]:
        """Return the sessions, without those that are not there, too old, or cannot be read."""
        return await _aside(self._load, keys)

    async def claim(self, key: str, /) -> int:
        """Return a new epoch; whoever has an earlier one has lost the session.

        Raises:
            FileNotFoundError, NotADirectoryError: The file's folder is not there.
            OSError: The file cannot be written.
        """
        return (await self.claim_all([key]))[key]

    async def claim_all(self, keys: Sequence[str], /) -> dict[str, int]:
        """Return a new epoch for each key, by one write.

        Raises:
            FileNotFoundError, NotADirectoryError: The file's folder is not there.
            OSError: The file cannot be written.
        """
        return await _aside(self._claim, keys)

    async def save(self, key: str, session: Session, epoch: int | None = None, /) -> None:
        """Keep it.

        Raises:
            SessionTakenOver: The epoch is not the newest.
            OSError: The file cannot be written.
        """
        if await self.save_all({key: (session, epoch)}):
            raise SessionTakenOver

    async def delete(self, key: str, epoch: int | None = None, /) -> None:
        """Forget it.

        Raises:
            SessionTakenOver: The epoch is not the newest.
            OSError: The file cannot be written.
        """
        if await self.save_all({key: (None, epoch)}):
            raise SessionTakenOver

    async def save_all(self, changes: Mapping[str, tuple[Session | None, int | None]], /) -> set[str]:
        """Keep or forget many by one write, and return the keys whose epoch is not the newest.

        Raises:
            OSError: The file cannot be written; then nothing is changed.
        """
        return await _aside(self._change, changes)

    def _load(self, keys: Iterable[str]) -> dict[str, Session]:
        with self._file.settled():
            self._file.tidy()
            entries, _ = self._read()
        sessions: dict[str, Session] = {}
        for key in keys:
            entry = entries.get(key)
            if entry is None or self._is_old(entry):
                continue
            try:
                sessions[key] = Session.from_dict(entry["session"])
            except (KeyError, ValueError) as error:
                _log.warning("the session in %s cannot be read (%s); identifying anew", self._file.path, error)
        return sessions

    def _claim(self, keys: Iterable[str]) -> dict[str, int]:
        self._file.check_folder()
        with self._file.locked():
            entries, epochs = self._read()
            # Not counted from 1: an epoch that was forgotten with its file must not come again.
            now = int(time.time() * 1000)
            claimed = {key: max(now, epochs.get(key, 0) + 1) for key in keys}
            if claimed:
                self._write(entries, {**epochs, **claimed})
        return claimed

    def _change(self, changes: Mapping[str, tuple[Session | None, int | None]]) -> set[str]:
        with self._file.locked():
            entries, epochs = self._read()
            refused = {
                key
                for key, (_, epoch) in changes.items()
                # An epoch that the file does not know is taken for the newest: then somebody has removed the file.
                if epoch is not None and epochs.setdefault(key, epoch) != epoch
            }
            accepted = {key: session for key, (session, _) in changes.items() if key not in refused}
            if all(session is None and key not in entries for key, session in accepted.items()):
                return refused
            now = time.time()
            kept = {key: entry for key, entry in entries.items() if key not in accepted and not self._is_old(entry)}
            for key, session in accepted.items():
                if session is not None:
                    kept[key] = {"saved_at": now, "session": session.to_dict()}
            # An epoch is the time of its claim. Whoever holds an old one without a session puts it back when it saves.
            oldest = (now - self._max_age) * 1000
            known = {key: epoch for key, epoch in epochs.items() if key in accepted or key in kept or epoch > oldest}
            self._write(kept, known)
        return refused

    def _is_old(self, entry: dict[str, Any]) -> bool:
        saved_at = entry.get("saved_at")
        return not isinstance(saved_at, int | float) or time.time() - saved_at > self._max_age

    def _read(self) -> tuple[dict[str, dict[str, Any]], dict[str, int]]:
        """The sessions and the epochs in the file."""
        text = self._file.read()
        if text is None:
            return {}, {}
        try:
            content = msgspec.json.decode(text)
        except (ValueError, RecursionError) as error:
            _log.warning("%s is no file of sessions (%s); identifying anew", self._file.path, error)
            return {}, {}
        sessions = content.get("sessions") if isinstance(content, dict) and content.get("version") == _VERSION else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        if not isinstance(sessions, dict):
            _log.warning("%s is no file of sessions, or one of another version; identifying anew", self._file.path)
            return {}, {}
        entries = cast("dict[str, Any]", sessions)
        epochs: Any = cast("dict[str, Any]", content).get("epochs")
        known = cast("dict[str, Any]", epochs) if isinstance(epochs, dict) else {}
        return (
            {key: entry for key, entry in entries.items() if isinstance(entry, dict)},
            {key: epoch for key, epoch in known.items() if isinstance(epoch, int)},
        )

    def _write(self, entries: dict[str, dict[str, Any]], epochs: dict[str, int]) -> None:
        self._file.write(msgspec.json.encode({"version": _VERSION, "sessions": entries, "epochs": epochs}))


async def _aside(function: Callable[..., _T], *arguments: Any) -> _T:
    """What touches the disk, off the event loop."""
    try:
        return await asyncio.to_thread(function, *arguments)
    except RuntimeError:
        # The loop's executor is shut down: the process ends, and nobody minds the wait.
        return function(*arguments)
