"""Writes docs/protocol-coverage.md: ``make coverage-table``. `rules` reads and finds, this file shows."""

from pathlib import Path

from rules import ROOT, Group, Mutation, Regression, Rule, Suite, Test, groups, regressions

TABLE = ROOT / "docs" / "protocol-coverage.md"

HEAD = """\
# Protocol coverage

<!-- Written by `make coverage-table` from the files in tests/coverage; what is changed here is lost. -->

What Discord's Gateway asks of a client, what can go wrong, and the test that proves what Propylon does about it. The
sections (§) and numbers such as F14 are those in the names and docstrings of the tests. A rule without a test, or with
less than a whole one, says why.

A Rust test is run by its path, `cargo test -p propylon-core <path>`, a Python test by `pytest tests/<path>`.
`tests/coverage` checks that every test named here exists, that no test with a number is left out, and that the table is
up to date. [CONTRIBUTING.md](../CONTRIBUTING.md) says how a rule is added.
"""

BREAKS = """\
## Where other clients break

Each was reproduced with the client that is named. A test holds ours to it, and a change of one line of our code makes
that test fail: all were tried, and `make mutants` tries them again.
"""


def cell(text: str) -> str:
    """Text as it may stand in a table."""
    return text.replace("|", "\\|").replace("\n", " ")


def link(test: Test) -> str:
    """A test's name, leading to its file."""
    path = Path("..") / test.file.relative_to(ROOT)
    return f"[`{test.name}`]({path.as_posix()})"


def proof(tests: Suite, rule: Rule) -> str:
    """The tests of a rule, and what they leave out."""
    named = "<br>".join(link(tests.find(name)) for name in rule.tests)
    if not named:
        return f"*No test:* {cell(rule.why)}."
    return f"{named}<br>{cell(rule.why)}." if rule.why else named


def section(tests: Suite, group: Group, title: str) -> str:
    """One group as a heading and a table."""
    rows = [f"| {cell(rule.text)} | {proof(tests, rule)} |" for rule in group.rules]
    return "\n".join([f"### {title}", "", "| rule | proved by |", "|---|---|", *rows, ""])


def counts(tests: Suite) -> str:
    """How much there is, in a sentence."""
    everything = [rule for file in ("protocol.toml", "faults.toml") for group in groups(file) for rule in group.rules]
    proved = [rule for rule in everything if rule.tests]
    named = {tests.find(name).name for rule in proved for name in rule.tests}
    return f"{len(everything)} rules and cases, {len(proved)} of which are proved, by {len(named)} tests.\n"


def mutation(tests: Suite, change: Mutation) -> str:
    """A change and the test that it fails."""
    where = change.file.removeprefix("rust/core/src/")
    return f"[`{where}`](../{change.file}): {cell(change.change)}<br>fails: {link(tests.find(change.fails))}"


def breaks(tests: Suite, rows: list[Regression]) -> str:
    """The table of what breaks elsewhere."""
    lines = [BREAKS, "| what happens | to | ours | proved by | changes that were tried |", "|---|---|---|---|---|"]
    for row in rows:
        proved = "<br>".join(link(tests.find(name)) for name in row.tests)
        tried = "<br>".join(mutation(tests, change) for change in row.mutations)
        lines.append(f"| {cell(row.elsewhere)} | {cell(row.who)} | {cell(row.ours)} | {proved} | {tried} |")
    return "\n".join([*lines, ""])


def table() -> str:
    """The whole document."""
    tests = Suite()
    parts = [HEAD, counts(tests), "## The protocol, by section\n"]
    parts += [section(tests, group, f"§{group.title}") for group in groups("protocol.toml")]
    parts += ["## Faults, by number\n", *[section(tests, group, group.title) for group in groups("faults.toml")]]
    return "\n".join([*parts, breaks(tests, regressions())])


if __name__ == "__main__":
    TABLE.write_text(table())
    print(f"{TABLE.relative_to(ROOT)} is written")
