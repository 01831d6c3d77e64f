"""What a filter means, once more in plain Python: evaluated on the decoded payload."""

import json
import operator
import re
from datetime import UTC, datetime, timedelta
from typing import Any

from propylon import Filter
from propylon._filters.expression import description

ABSENT = object()
RELATIONS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


def decoded(raw: str) -> Any:
    """As filters see it: integers of 64 bits exactly, other numbers as floats, half a surrogate pair as U+FFFD."""
    return json.loads(raw, parse_int=_integer, object_pairs_hook=_object)


def _integer(digits: str) -> int | float:
    value = int(digits)
    return value if -(1 << 63) <= value < 1 << 64 else float(digits)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return {_text(key): value for key, value in pairs}


def _text(text: str) -> str:
    return re.sub("[\ud800-\udfff]", "\ufffd", text)


def evaluate(one: Filter, payload: Any) -> bool:
    return _evaluate(json.loads(description(one)), payload)


def _evaluate(expression: list[Any], payload: Any) -> bool:
    name, *rest = expression
    if name == "and":
        return all(_evaluate(part, payload) for part in rest)
    if name == "or":
        return any(_evaluate(part, payload) for part in rest)
    if name == "not":
        return not _evaluate(rest[0], payload)
    value = payload
    for key in rest[0].split("."):
        value = value.get(key, ABSENT) if isinstance(value, dict) else ABSENT
    return value is not ABSENT and _holds(name, _text(value) if isinstance(value, str) else value, *rest[1:])


def _holds(name: str, value: Any, operand: Any = None) -> bool:
    if name == "exists":
        return True
    if name == "null":
        return value is None
    if name == "in":
        return any(_equal(value, one) for one in operand)
    if name == "==":
        return _equal(value, operand)
    if name == "contains" and isinstance(value, list):
        return any(_equal(_text(element) if isinstance(element, str) else element, operand) for element in value)
    if name in ("startswith", "endswith", "contains"):
        method = {"contains": "__contains__"}.get(name, name)
        return isinstance(value, str) and isinstance(operand, str) and bool(getattr(value, method)(operand))
    pair = _comparable(value, _operand(operand))
    return pair is not None and RELATIONS[name](*pair)


def _operand(operand: Any) -> Any:
    if isinstance(operand, dict) and "time" in operand:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=operand["time"])
    return float(operand["float"]) if isinstance(operand, dict) else operand


def _moment(text: str) -> datetime | None:
    pattern = r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(\.\d+)?(?:[Zz]|([+-]\d\d:[0-5]\d))"
    match = re.fullmatch(pattern, text, re.ASCII)
    if match is None:
        return None
    date, time, fraction, offset = match.groups()
    try:
        return datetime.fromisoformat(f"{date}T{time}{(fraction or '.0')[:7].ljust(7, '0')}{offset or '+00:00'}")
    except ValueError:
        return None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _comparable(value: Any, operand: Any) -> tuple[Any, Any] | None:
    if isinstance(value, str) and _is_number(operand):
        if not re.fullmatch(r"-?(0|[1-9][0-9]{0,19})", value, re.ASCII) or not isinstance(_integer(value), int):
            return None
        return int(value), operand
    if isinstance(operand, datetime):
        moment = _moment(value) if isinstance(value, str) else None
        return None if moment is None else (moment, operand)
    if isinstance(value, str) and isinstance(operand, str):
        return value, operand
    return (value, operand) if _is_number(value) and _is_number(operand) else None


def _equal(value: Any, operand: Any) -> bool:
    operand = _operand(operand)
    if operand is None or isinstance(operand, bool):
        return value is operand
    pair = _comparable(value, operand)
    return pair is not None and pair[0] == pair[1]
