"""The scripts of `.ci`: what leaves the machine tells nothing of it, and licences are held against those allowed."""

import importlib.util
import re
import tomllib
from pathlib import Path
from types import ModuleType
from zipfile import ZipFile

import pytest

REPOSITORY = Path(__file__).parents[2]


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"ci_{name}", REPOSITORY / ".ci" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SBOM = """{"bom-ref": "path+file:///home/someone/clone/rust/core#propylon-core@0.2.0",
"dependsOn": ["path+file:///D:/a/clone/rust/python#propylon-python@0.2.0 bin-target-0"],
"purl": "pkg:cargo/propylon-core@0.2.0?download_url=file://../core"}"""


def test_an_sbom_names_our_crates_by_their_place_in_the_repository() -> None:
    dist = script("dist")
    assert len(dist.paths_told(iter([("before", SBOM)]))) == 2
    tidied = dist.tidied(SBOM)
    assert dist.paths_told(iter([("after", tidied)])) == []
    assert "path+file:///rust/core#propylon-core@0.2.0" in tidied
    assert "path+file:///rust/python#propylon-python@0.2.0 bin-target-0" in tidied


@pytest.mark.parametrize("told", ["file:///usr/src/other#crate@1", "{home}/.cargo/registry", "{repository}/rust"])
def test_a_wheel_that_tells_of_the_machine_is_refused(told: str, tmp_path: Path) -> None:
    wheel = tmp_path / "propylon-0.2.0-py3-none-any.whl"
    with ZipFile(wheel, "w") as archive:
        archive.writestr("propylon-0.2.0.dist-info/METADATA", "Name: propylon")
        archive.writestr(
            "propylon-0.2.0.dist-info/sboms/it.json",
            told.format(home=Path.home(), repository=REPOSITORY),
        )
    dist = script("dist")
    assert dist.paths_told(dist.described(wheel))


def test_an_expression_is_met_by_what_is_allowed() -> None:
    pytest.importorskip("license_expression")
    allows = script("licences").allows
    allowed = {"MIT", "ISC", "Apache-2.0 WITH LLVM-exception"}
    assert allows("MIT OR GPL-3.0-only", allowed)
    assert allows("GPL-3.0-only/MIT", allowed)
    assert allows("(GPL-3.0-only OR MIT) AND ISC", allowed)
    assert allows("Apache-2.0 WITH LLVM-exception", allowed)
    assert not allows("MIT AND GPL-3.0-only", allowed)
    assert not allows("Apache-2.0", allowed)


def test_version_and_changelog_agree() -> None:
    version = tomllib.loads((REPOSITORY / "Cargo.toml").read_text("utf-8"))["workspace"]["package"]["version"]
    assert f"\n## [{version}] - " in (REPOSITORY / "CHANGELOG.md").read_text("utf-8")
    assert f"\nversion: {version}\n" in (REPOSITORY / "CITATION.cff").read_text("utf-8")


def test_what_security_promises_names_tests_that_are_there() -> None:
    named = re.findall(r"`(tests/[^`]+)`", (REPOSITORY / "SECURITY.md").read_text("utf-8"))
    assert named
    assert [path for path in named if not (REPOSITORY / path).exists()] == []
