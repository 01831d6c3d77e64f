"""A file that processes share: read without a lock, replaced as a whole, and changed by one of them at a time.

What is in it is for others to know: `propylon._sessions.stores`, `propylon._sessions.gates`.
"""

import contextlib
import errno
import glob
import os
import tempfile
import threading
import time
from collections.abc import Generator
from pathlib import Path
from typing import Final

from propylon._sessions.locks import FileLock, take

__all__ = ["SharedFile"]

_ABANDONED: Final = 60.0
"""Seconds after which a file that is being written is no longer being written."""
_LOCK_PATIENCE: Final = 5.0
"""Seconds to wait for other processes, each of which holds the lock for some milliseconds."""
_LOCK_POLL: Final = 0.005


class SharedFile:
    """One file, and beside it the empty ones whose locks are held: ``.<name>.lock`` by whoever changes it."""

    def __init__(self, path: str | os.PathLike[str], owner: str) -> None:
        """``owner`` is the class that errors name."""
        # A program that changes its folder meanwhile still finds it.
        self.path: Final = Path(path).absolute()
        self._owner: Final = owner

    def check_folder(self) -> None:
        """Raise FileNotFoundError or NotADirectoryError where the file's folder is not there."""
        folder = self.path.parent
        if folder.is_dir():
            return
        kind, number = (NotADirectoryError, errno.ENOTDIR) if folder.exists() else (FileNotFoundError, errno.ENOENT)
        advice = f"{self._owner} writes its file into a folder that is there; make it, or name another"
        raise kind(number, advice, str(folder))

    def try_lock(self, part: str = "") -> FileLock | None:
        """Take the lock of the file, or of a part of what it tells; None where somebody has it. Does not wait."""
        return take(self.path.with_name(f".{self.path.name}.{part and f'{part}.'}lock"))

    @contextlib.contextmanager
    def locked(self) -> Generator[None, None, None]:
        """Nobody else changes the file meanwhile, neither a thread of this process nor another one. Waits for it.

        Raises:
            TimeoutError: Another process does not let go of it.
        """
        with _lock:
            lock = self._wait_for_lock()
            try:
                yield
            finally:
                lock.release()

    @contextlib.contextmanager
    def settled(self) -> Generator[None, None, None]:
        """No thread of this process changes the file meanwhile: Windows replaces none that is being read."""
        with _lock:
            yield

    def _wait_for_lock(self) -> FileLock:
        end = time.monotonic() + _LOCK_PATIENCE
        while (lock := self.try_lock()) is None:
            if time.monotonic() > end:
                raise TimeoutError(
                    f"another process has held the lock of {self.path} for {_LOCK_PATIENCE:g} s; see whether it hangs"
                )
            time.sleep(_LOCK_POLL)
        return lock

    def read(self) -> bytes | None:
        """What is in it; None where it is not there. Whoever writes replaces it as a whole: no lock is needed."""
        try:
            return self.path.read_bytes()
        except FileNotFoundError:
            return None

    def write(self, content: bytes, *, lasting: bool = True) -> None:
        """Replace it; ``lasting``: also a machine that loses its power now has it afterwards.

        Raises:
            OSError: It cannot be written; then it is as before.
        """
        # Beside the file, because a rename is atomic within a file system only. mkstemp's mode is 0600.
        descriptor, name = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.", suffix=".new")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                if lasting:
                    file.flush()
                    os.fsync(file.fileno())
            os.replace(name, self.path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise

    def tidy(self) -> None:
        """Remove what a process left that was killed while it wrote: it may hold secrets, too."""
        for left in self.path.parent.glob(f".{glob.escape(self.path.name)}.*.new"):
            with contextlib.suppress(OSError):
                if time.time() - left.stat().st_mtime > _ABANDONED:
                    left.unlink()


_lock = threading.Lock()
"""Of all files: several stores may share one, and a write takes a millisecond."""


def _unlock() -> None:
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):  # not on Windows
    # A thread of the parent may have held it.
    os.register_at_fork(after_in_child=_unlock)
