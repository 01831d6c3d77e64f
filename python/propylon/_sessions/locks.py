"""The lock of an open file, by which processes take turns. The system lets go of it when its process ends."""

import sys

__all__ = ["acquire", "release"]

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
