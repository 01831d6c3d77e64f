"""The table of rules and their tests is whole, true and up to date."""

import re

import pytest
from rules import ROOT, Suite, claims, groups, python_modules, regressions
from table import TABLE, table

SECTIONS = [f"§{number}" for number in range(1, 18)]
CASES = [f"F{number:02}" for number in range(1, 41)]
PROCESS = [f"H{number}" for number in range(1, 6)]
INVARIANTS = [f"I{number}" for number in range(1, 11)]
BREAKS = 13
"""How many ways to break were found in other clients."""

FILES = ["protocol.toml", "faults.toml"]


@pytest.fixture(scope="module")
def tests() -> Suite:
    return Suite()


@pytest.fixture(scope="module")
def claimed(tests: Suite) -> dict[str, set[str]]:
    """The full names of the tests under each section and number."""
    return {mark: {tests.find(name).name for name in names} for mark, names in claims().items()}


def test_the_document_is_what_the_generator_writes() -> None:
    assert TABLE.read_text() == table(), "run `make coverage-table`"


def test_every_test_that_is_named_exists(tests: Suite) -> None:
    named = [name for file in FILES for group in groups(file) for rule in group.rules for name in rule.tests]
    for row in regressions():
        named += [*row.tests, *[change.fails for change in row.mutations]]
    missing: list[str] = []
    for name in named:
        try:
            tests.find(name)
        except LookupError as error:
            missing.append(str(error))
    assert missing == []


def test_every_section_case_and_invariant_is_there(claimed: dict[str, set[str]]) -> None:
    assert set(claimed) == {*SECTIONS, *CASES, *PROCESS, *INVARIANTS}
    assert len(regressions()) == BREAKS


def test_a_rule_has_a_test_or_says_why_not() -> None:
    for file in FILES:
        for group in groups(file):
            for rule in group.rules:
                assert rule.tests or rule.why, f"{group.title}: {rule.text}"
                assert not rule.why.endswith("."), f"the table ends the sentence: {rule.why}"
                assert len(set(rule.tests)) == len(rule.tests), rule.text


def test_a_test_that_carries_a_number_stands_under_it(tests: Suite, claimed: dict[str, set[str]]) -> None:
    astray = [
        f"{mark}: {test.name}"
        for test in [*tests.rust, *tests.python]
        for mark in test.marks
        if test.name not in claimed.get(mark, set())
    ]
    # What a file says of itself must hold for one of its tests at least.
    astray += [
        f"{mark}: {module.name}"
        for module in python_modules()
        for mark in module.marks
        if not any(name.startswith(module.name) for name in claimed.get(mark, set()))
    ]
    assert sorted(astray) == [], "add them to tests/coverage/*.toml"


def test_what_is_known_of_the_tests_is_what_is_there(tests: Suite) -> None:
    """The finder is no proof of anything if it finds nothing: names that it must know, and their numbers."""
    assert tests.find("heartbeat::s4_3_f14_a_beat_without_ack_at_the_next_due_beat_is_a_zombie").marks == {"§4", "F14"}
    assert tests.find("properties::i1_i3_i4_i5_i6_i7_i8_i9_i10_hold_over_random_scripts").marks == {
        f"I{number}" for number in (1, 3, 4, 5, 6, 7, 8, 9, 10)
    }
    next_attempt = tests.find("faults/test_connecting.py::test_the_next_attempt_succeeds")
    assert next_attempt.marks == {"F01", "F02", "F03", "F04", "F05", "F06"}
    # A module that stands in a file of another name, and one of an integration test.
    assert tests.find("envelope::tests::hostile_sizes_complete").name.startswith("protocol::envelope::tests::")
    assert tests.find("https_proxy::the_tunnel_lies_under_tls_to_the_proxy")
    for name in ("no_such_test", "random_bytes_never_panic", "faults/test_connecting.py::test_nothing"):
        with pytest.raises(LookupError):
            tests.find(name)


def test_a_mutation_is_one_line_of_code_that_is_there(tests: Suite) -> None:
    for row in regressions():
        assert row.mutations, row.elsewhere
        for change in row.mutations:
            text = (ROOT / change.file).read_text()
            assert text.count(change.old) == 1, (
                f"{change.file}: {change.old!r} stands there {text.count(change.old)} times"
            )
            assert change.old != change.new
            assert "\n" not in change.old
            assert "\n" not in change.new
            proving = {tests.find(name).name for name in row.tests}
            assert tests.find(change.fails).name in proving, change.fails
            assert re.search(r"\w", change.change)
