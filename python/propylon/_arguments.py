"""What several rooms ask alike of a user's call: what its arguments may be, and where it stands."""

import base64
import binascii
import math
import os
import sys
from pathlib import Path
from types import FrameType
from typing import Final

__all__ = ["bare_token", "check_seconds", "class_name", "count_of", "frame_of_user", "user_of_token"]

_MAX_ID_DIGITS: Final = 20
_PACKAGE: Final = str(Path(__file__).parent) + os.sep


def frame_of_user() -> tuple[FrameType, int]:
    """The first frame outside this package, where the user's own line stands, and its ``stacklevel`` for the caller."""
    level = 1
    frame = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
        level += 1
    return frame, level


def count_of(name: str, value: object, least: int) -> int:
    """A whole number of at least ``least``. Raises ValueError for anything else."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, not {value!r:.100}")
    if value > sys.maxsize:
        raise ValueError(f"{name} must be at most {sys.maxsize}, not {value}")
    return value


def check_seconds(who: str, **limits: float | None) -> None:
    """Raise TypeError or ValueError where one is no number of seconds; None is no limit."""
    for name, seconds in limits.items():
        if seconds is None:
            continue
        if isinstance(seconds, bool) or not isinstance(seconds, int | float):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"{who}: {name} is a number of seconds, not {seconds!r}")
        if math.isnan(seconds) or seconds < 0:
            raise ValueError(f"{who}: {name} must be 0 s or more, not {seconds!r}")


def user_of_token(token: str) -> int | None:
    """The bot's own user, whose id is the first part of its token in base64; None for a token of another make."""
    first = bare_token(token).partition(".")[0]
    try:
        text = base64.urlsafe_b64decode(first + "=" * (-len(first) % 4)).decode("ascii")
    except (ValueError, binascii.Error):
        return None
    return int(text) if text.isdigit() and len(text) <= _MAX_ID_DIGITS else None


def bare_token(token: str) -> str:
    """The token without the prefix of the Authorization header, nor the line end of the file that it was read from."""
    return token.strip().removeprefix("Bot ").removeprefix("bot ").strip()


def class_name(kind: type) -> str:
    """A class by the name under which users import it: without the modules that are nobody's business."""
    return ".".join([*(part for part in kind.__module__.split(".") if not part.startswith("_")), kind.__qualname__])
