"""docs/configuration.md has every option of `Gateway`, with the default that it really has."""

import dataclasses
import inspect
import re
from typing import Any

from blocks import REPOSITORY

import propylon
from propylon import Backoff, Gateway, Timeouts

ROW = re.compile(r"^\| `([a-z_.]+)` \| (?:`(.+?)`|required) \|")


def test_every_option_is_there_with_its_default() -> None:
    """As a row of a table: an option, its default."""
    text = (REPOSITORY / "docs" / "configuration.md").read_text("utf-8")
    found = [match.groups() for match in map(ROW.match, text.splitlines()) if match]
    documented: dict[str, Any] = {
        option: inspect.Parameter.empty if default is None else eval(default, vars(propylon))
        for option, default in found
        if not option.startswith("propylon")
    }
    parameters = list(inspect.signature(Gateway).parameters.values())
    expected: dict[str, Any] = {parameter.name: parameter.default for parameter in parameters}
    for name, value in (("timeouts", Timeouts()), ("backoff", Backoff())):
        assert expected[name] is None
        expected[name] = value
        expected |= {f"{name}.{field.name}": field.default for field in dataclasses.fields(value)}
    assert documented == expected
