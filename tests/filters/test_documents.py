"""The truth table of docs/filters.md, cell by cell."""

import re
from pathlib import Path

import pytest

from propylon import Filter, field

DOCUMENT = Path(__file__).parents[2] / "docs" / "filters.md"


def cells() -> list[tuple[str, str, bool]]:
    """Condition, value and answer."""
    lines = DOCUMENT.read_text("utf-8").splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("| condition | absent |"))
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[start:] if line.startswith("|")]
    values = [value.strip("`") for value in rows[0][1:]]
    found: list[tuple[str, str, bool]] = []
    for condition, *answers in rows[2:13]:
        assert set(answers) <= {"yes", "no"}
        for one in re.findall("`([^`]+)`", condition):
            found += [(one, value, answer == "yes") for value, answer in zip(values, answers, strict=True)]
    return found


CELLS = cells()


def test_the_table_is_read() -> None:
    assert len(CELLS) == 14 * 8


@pytest.mark.parametrize(("condition", "value", "expected"), CELLS)
def test_a_cell_holds_and_its_negation_is_the_opposite(condition: str, value: str, expected: bool) -> None:
    one = eval(condition, {"f": field("f")})
    assert isinstance(one, Filter)
    value = {"{…}": '{"a": 5}'}.get(value, value)
    raw = ("{}" if value == "absent" else f'{{"f": {value}}}').encode()
    assert one.matches(raw) is expected
    assert (~one).matches(raw) is not expected
    if condition.startswith("f == "):
        assert eval(condition.replace("==", "!="), {"f": field("f")}).matches(raw) is not expected
