"""What Propylon's log lines become: objects of JSON, where a program wants them so, and bursts that are counted.

Which loggers there are, and what they say at which level: docs/configuration.md.
"""

import atexit
import json
import logging
import math
import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from typing import Any, Final

__all__ = ["BurstFilter", "JsonFormatter", "flush_bursts"]

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
"""What every record has; anything else was given by ``extra=``."""
_MOST: Final = 5
"""Times that one line is written within `_WINDOW`."""
_WINDOW: Final = 60.0
"""Seconds."""
_LINES: Final = 4096
"""Different lines that are remembered. More of them are written, and counted by nobody."""


class JsonFormatter(logging.Formatter):
    """Writes each record as one JSON object on one line.

    ::

        handler = logging.StreamHandler()
        handler.setFormatter(JsonFormatter())
        logging.basicConfig(level=logging.INFO, handlers=[handler])

    Its keys: ``time`` (RFC 3339, UTC), ``level``, ``logger``, ``message``; of an exception ``exception``, its traceback
    as text; and what the record was given by ``extra=``: lines of Propylon's have ``shard`` (an int) and ``event`` (a
    name) where they are about one. Values that JSON cannot hold are written as text, and no record makes it fail.
    """

    def format(self, record: logging.LogRecord) -> str:
        """One line, in ASCII."""
        fields: dict[str, Any] = {
            "time": _time(record.created),
            "level": record.levelname,
            "logger": record.name,
            "message": _message(record),
        }
        for name, value in vars(record).items():
            if name not in _STANDARD and name not in fields and not name.startswith("_"):
                fields[name] = value
        exception = self._exception(record)
        if exception:
            fields["exception"] = exception
        try:
            # Told apart from what would be no JSON, such as NaN.
            return json.dumps(fields, default=_text, allow_nan=False)
        # Or whatever a mapping of somebody's raises when it is walked.
        except Exception:
            return json.dumps({_text(name): _plain(value) for name, value in fields.items()})

    def _exception(self, record: logging.LogRecord) -> str:
        parts: list[str] = []
        try:
            if record.exc_info:
                parts.append(record.exc_text or self.formatException(record.exc_info))
            elif record.exc_text:
                parts.append(record.exc_text)
            if record.stack_info:
                parts.append(self.formatStack(record.stack_info))
        except Exception as error:
            parts.append(f"<traceback that cannot be written: {type(error).__name__}>")
        return "\n".join(parts)


def _time(created: float) -> str:
    try:
        return datetime.fromtimestamp(created, UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):
        # A record that was made by hand, or came from elsewhere; no year of ours.
        return _text(created)


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:
        # Arguments that do not fit their template: what `logging` itself prints a traceback for.
        return f"{_text(record.msg)} {_text(record.args)}"


def _text(value: object) -> str:
    try:
        return value if isinstance(value, str) else repr(value)
    except Exception as error:
        return f"<{type(value).__name__} whose repr raises {type(error).__name__}>"


def _plain(value: object) -> object:
    if value is None or isinstance(value, str | bool) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, int) and abs(value) < 1 << 64:
        return value
    return _text(value)


@dataclass(slots=True)
class _Line:
    began: float
    level: int
    written: int = 0
    more: int = 0
    text: str = ""


class BurstFilter(logging.Filter):
    """Lets a line through 5 times a minute, and then says how often more it came.

    A line is what one logger says with one template and the same arguments, numbers with a fraction aside, such as
    delays. Lines below INFO all pass. Propylon's own loggers have one each; it may stand on others too. There is no
    thread and no timer in it: that a minute is over is noticed when anything is logged next, when a gateway is closed,
    and at exit.
    """

    def __init__(self, logger: logging.Logger) -> None:
        """``logger``: where the counts are written."""
        super().__init__()
        self._logger: Final = logger
        # A signal handler or a finaliser may log within it.
        self._lock = threading.RLock()
        self._lines: dict[tuple[object, ...], _Line] = {}
        self._next_look = 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is written."""
        if record.levelno < logging.INFO or getattr(record, "_counted", False):
            return True
        now = monotonic()
        # Outside the lock: what an argument's `repr` does is the user's affair, and may be to log.
        key = _key(record)
        with self._lock:
            over = self._over(now) if now >= self._next_look else []
            passes, untold = self._passes(record, key, now)
        if untold is not None:
            untold.text = _message(record)
        self._tell(over)
        return passes

    def _passes(self, record: logging.LogRecord, key: tuple[object, ...], now: float) -> tuple[bool, _Line | None]:
        """Whether it is written, and the line whose text is still to be noted."""
        line = self._lines.get(key)
        if line is None:
            if len(self._lines) >= _LINES:
                return True, None
            line = self._lines[key] = _Line(now, record.levelno)
            self._next_look = min(self._next_look, now + _WINDOW) if len(self._lines) > 1 else now + _WINDOW
        if line.written < _MOST:
            line.written += 1
            return True, None
        line.more += 1
        return False, None if line.text else line

    def _over(self, now: float, *, all_of_them: bool = False) -> list[tuple[_Line, float]]:
        """Forgets the lines whose minute is over; those of which there were more."""
        over = {key: line for key, line in self._lines.items() if all_of_them or now - line.began >= _WINDOW}
        for key in over:
            del self._lines[key]
        self._next_look = min((line.began for line in self._lines.values()), default=now) + _WINDOW
        return [(line, now - line.began) for line in over.values() if line.more]

    def _tell(self, over: Iterable[tuple[_Line, float]]) -> None:
        for line, seconds in over:
            self._logger.log(
                line.level, "%s (… %s more in %.0f s)", line.text, f"{line.more:,}", seconds, extra={"_counted": True}
            )

    def flush(self) -> None:
        """Write what has been counted, and forget it."""
        with self._lock:
            over = self._over(monotonic(), all_of_them=True)
        self._tell(over)


def _key(record: logging.LogRecord) -> tuple[object, ...]:
    args = record.args if isinstance(record.args, tuple) else (record.args,)
    # As text: what is hashable is not known, and large objects would be kept.
    shown = tuple(_text(value)[:200] for value in args if not isinstance(value, float))
    return (record.levelno, _text(record.msg), shown)


_filters: Final = [
    BurstFilter(logging.getLogger(name))
    for name in ("propylon", "propylon.cluster", "propylon.gateway", "propylon.recording")
]
for _each in _filters:
    _each._logger.addFilter(_each)  # pyright: ignore[reportPrivateUsage]


def _forked() -> None:
    """In the child the lock may be another thread's, and what was counted is the parent's to tell."""
    for each in _filters:
        each._lock = threading.RLock()  # pyright: ignore[reportPrivateUsage]
        each._lines.clear()  # pyright: ignore[reportPrivateUsage]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def flush_bursts() -> None:
    """Write what has been counted of Propylon's own lines; done when a gateway is closed, and at exit."""
    for each in _filters:
        each.flush()


atexit.register(flush_bursts)
