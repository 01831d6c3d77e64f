"""How much memory the process takes while something is done."""

import resource
import sys
from pathlib import Path

_REFS = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")


class Peak:
    """The most memory since it was made, as against what there was then.

    Linux forgets the mark of earlier tests when it is told to. Elsewhere it is that of the whole life of the process: a
    hungrier test before it then hides what comes later, so a bound may be held where it is not.
    """

    def __init__(self) -> None:
        """Begin anew."""
        try:
            # https://docs.kernel.org/filesystems/proc.html: "5" sets the mark to what is resident now.
            _REFS.write_text("5")
        except OSError:
            self._anew = False
        else:
            self._anew = True
        self._before = self._peak()

    def _peak(self) -> int:
        if self._anew:
            fields = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
            return int(fields["VmHWM"].split()[0]) * 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

    @property
    def growth(self) -> int:
        """In bytes."""
        return self._peak() - self._before
