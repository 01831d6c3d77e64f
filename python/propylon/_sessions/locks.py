"""The lock of an open file, by which processes take turns. The system lets go of it when its process ends.

Two descriptors of one file exclude each other within a process, too: threads and event loops take turns by it as well.
"""

import contextlib
import os
import sys
import weakref
from pathlib import Path
from typing import Final

__all__ = ["FileLock", "acquire", "release", "take"]

# What the other system has not is imported where it is used.
if sys.platform == "win32":

    def acquire(descriptor: int) -> bool:
        """Take the lock of an open file; False where another process has it."""
        import msvcrt

        try:
            # Of the first byte, whether it is there or not.
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def release(descriptor: int) -> None:
        """Let go of it."""
        import msvcrt

        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

else:

    def acquire(descriptor: int) -> bool:
        """Take the lock of an open file; False where another process has it."""
        import fcntl

        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def release(descriptor: int) -> None:
        """Let go of it."""
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_UN)


class FileLock:
    """A lock that `take` has taken, until it is released or nobody has it any more."""

    __slots__ = ("__weakref__", "_descriptor")

    def __init__(self, descriptor: int) -> None:
        """``descriptor`` is of a file whose lock is taken, and is closed with it."""
        self._descriptor: int | None = descriptor
        _held.add(self)

    def release(self) -> None:
        """Let go of it. Does not wait; the second time it does nothing."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        try:
            # Not left to the closing: a child that was forked meanwhile has the descriptor too.
            release(descriptor)
        finally:
            os.close(descriptor)

    def leave_to_parent(self) -> None:
        """In a forked child: close what was inherited. The lock is the parent's, and is to end with it."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            # Without a release, which would be the parent's too.
            with contextlib.suppress(OSError):
                os.close(descriptor)

    def __del__(self) -> None:
        """Let go of what was forgotten."""
        self.release()


_held: Final = weakref.WeakSet[FileLock]()


def take(path: Path) -> FileLock | None:
    """Take the lock of a file, which is made where it is missing; None where somebody else has it. Does not wait.

    Raises:
        OSError: The file cannot be opened.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        taken = acquire(descriptor)
    except BaseException:
        os.close(descriptor)
        raise
    if taken:
        return FileLock(descriptor)
    os.close(descriptor)
    return None


def _leave_to_parent() -> None:
    for lock in list(_held):
        lock.leave_to_parent()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_leave_to_parent)
