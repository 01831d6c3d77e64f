"""Holds the licences of everything that a user installs against what is allowed: the fast half of `make licences`.

Rust: the crates of the extension, by `cargo metadata`, against `[licenses]` of deny.toml. Python: what the package and
its extras depend on, as far as it is installed, by pip-licenses, against `PYTHON` below.
"""

import json
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path
from typing import Any

from license_expression import AND, OR, LicenseExpression, get_spdx_licensing
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).resolve().parents[1]

PYTHON = (
    "Apache",
    "BSD",
    "CC0-1.0",
    "ISC",
    "MIT",
    # Its files stay under it, our code does not come under it: orjson's, certifi's.
    "MPL-2.0",
    "Mozilla Public License 2.0",
    "PSF-2.0",
    "Python Software Foundation License",
    "Zlib",
)
"""Words of which a licence must hold one: packages write them in many ways."""

_LICENSING = get_spdx_licensing()


def allows(expression: str, allowed: set[str]) -> bool:
    """Whether an SPDX expression can be met by what is allowed; the old slash means OR."""
    parsed = _LICENSING.parse(expression.replace("/", " OR "), validate=True)
    return parsed is not None and _met(parsed, allowed)


def _met(expression: LicenseExpression, allowed: set[str]) -> bool:
    if isinstance(expression, OR):
        return any(_met(part, allowed) for part in expression.args)
    if isinstance(expression, AND):
        return all(_met(part, allowed) for part in expression.args)
    return str(expression) in allowed


def compiled_in(metadata: dict[str, Any]) -> set[str]:
    """The ids of the crates that the extension needs to run: no tests' and no build scripts'."""
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    (ours,) = (package["id"] for package in metadata["packages"] if package["name"] == "propylon-python")
    found: set[str] = set()
    left = [ours]
    while left:
        node = left.pop()
        if node not in found:
            found.add(node)
            left += [
                needed["pkg"]
                for needed in nodes[node]["deps"]
                if any(kind["kind"] is None for kind in needed["dep_kinds"])
            ]
    return found


def of_rust() -> list[str]:
    """Crates whose licence is not allowed."""
    allowed = set(tomllib.loads((REPOSITORY / "deny.toml").read_text("utf-8"))["licenses"]["allow"])
    metadata = json.loads(_output("cargo", "metadata", "--format-version", "1", "--locked"))
    wanted = compiled_in(metadata)
    packages = [package for package in metadata["packages"] if package["id"] in wanted]
    print(f"licences of {len(packages)} crates", end=", ")
    return [
        f"crate {package['name']}: {package['license']}"
        for package in packages
        if package["license"] is None or not allows(package["license"], allowed)
    ]


def installed_with(package: str) -> set[str]:
    """What a package and all its extras depend on, of what is here."""
    found: set[str] = set()
    left = [(package, True)]
    while left:
        name, extras = left.pop()
        try:
            needed = requires(name) or []
        except PackageNotFoundError:  # an extra that nobody installed here, or one for another system
            if name == package:
                raise SystemExit(f"{package} is not installed here, so its needs are unknown: make demo") from None
            continue
        found.add(canonicalize_name(name))
        for requirement in map(Requirement, needed):
            # Of others, what they always need: an extra of theirs that is asked for is asked for by name.
            wanted = extras or requirement.marker is None or "extra" not in str(requirement.marker)
            if wanted and canonicalize_name(requirement.name) not in found:
                left.append((requirement.name, False))
    return found


def of_python() -> list[str]:
    """Packages whose licence is not allowed."""
    wanted = installed_with("propylon")
    told = json.loads(_output(sys.executable, "-m", "piplicenses", "--from=mixed", "--format=json"))
    found = {canonicalize_name(one["Name"]): one["License"] for one in told}
    checked = sorted(wanted & found.keys())
    print(f"{len(checked)} Python packages")
    return [f"package {name}: {found[name]}" for name in checked if not any(word in found[name] for word in PYTHON)]


def _output(*command: str) -> str:
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=REPOSITORY).stdout


if __name__ == "__main__":
    if wrong := of_rust() + of_python():
        raise SystemExit("not allowed by deny.toml, or by .ci/licences.py:\n" + "\n".join(wrong))
