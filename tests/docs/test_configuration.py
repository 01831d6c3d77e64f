"""docs/configuration.md has every option of `Gateway`, with the default that it really has, and docs/sharding.md what a
`ShardManager` has besides, or otherwise."""

import dataclasses
import inspect
import re
from typing import Any

from blocks import REPOSITORY

import propylon
from propylon import Backoff, Gateway, ShardManager, Timeouts

ROW = re.compile(r"^\| `([a-z_.]+)` \| (?:`(.+?)`|required) \|")


def documented_in(page: str) -> dict[str, Any]:
    """The rows of its tables: an option, its default."""
    text = (REPOSITORY / "docs" / page).read_text("utf-8")
    found = [match.groups() for match in map(ROW.match, text.splitlines()) if match]
    return {
        option: inspect.Parameter.empty if default is None else eval(default, vars(propylon))
        for option, default in found
        if not option.startswith("propylon")
    }


def options_of(kind: type) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(kind).parameters)


def test_every_option_is_there_with_its_default() -> None:
    documented = documented_in("configuration.md")
    expected: dict[str, Any] = {name: parameter.default for name, parameter in options_of(Gateway).items()}
    for name, value in (("timeouts", Timeouts()), ("backoff", Backoff())):
        assert expected[name] is None
        expected[name] = value
        expected |= {f"{name}.{field.name}": field.default for field in dataclasses.fields(value)}
    assert documented == expected


def test_what_a_fleet_has_otherwise_is_there_with_its_default() -> None:
    """Options that a gateway does not have, and those with another default or type."""
    of_one, of_many = options_of(Gateway), options_of(ShardManager)
    assert of_one.keys() - of_many.keys() == {"shard", "session"}
    other = {
        name
        for name, parameter in of_many.items()
        if name not in of_one
        or (parameter.default, parameter.annotation) != (of_one[name].default, of_one[name].annotation)
    }
    documented = documented_in("sharding.md")
    assert documented == {name: of_many[name].default for name in documented}
    assert other <= documented.keys()
