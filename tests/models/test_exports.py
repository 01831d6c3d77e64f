"""What the packages export."""

import importlib
import importlib.metadata
import pkgutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

import propylon
from propylon import Intents, events, models
from propylon.events import _intents

ROOT = Path(__file__).parents[2]
INTERNAL = {"_event", "_intents", "_decoding", "_projection", "_reading"}


@pytest.mark.parametrize("package", [events, models], ids=["events", "models"])
def test_a_package_exports_exactly_what_its_files_do(package: ModuleType) -> None:
    names: set[str] = set()
    for module in pkgutil.iter_modules(package.__path__):
        if module.name not in INTERNAL:
            names |= set(importlib.import_module(f"{package.__name__}.{module.name}").__all__)
    extra = {"EVENTS", "Event"} if package is events else {"NO_ID", "UNSET", "UnsetType", "Unchecked"} | {
        "Model", "Identified", "OpenIntEnum", "OpenStrEnum", "or_none",
    }  # fmt: skip
    assert set(package.__all__) == names | extra
    assert len(package.__all__) == len(set(package.__all__))


def test_the_version_is_that_of_cargo_toml_and_of_the_package() -> None:
    cargo = tomllib.loads((ROOT / "Cargo.toml").read_text())
    assert propylon.__version__ == cargo["workspace"]["package"]["version"]
    assert propylon.__version__ == importlib.metadata.version("propylon")


def test_the_import_does_not_ask_the_metadata_which_would_load_email() -> None:
    code = "import sys; before = set(sys.modules); import propylon; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    loaded = done.stdout.split()
    assert "propylon._gateway.gateway" in loaded
    assert not {"importlib.metadata", "email", "zipfile", "http.client"} & set(loaded)


@pytest.mark.parametrize("name", ["Activity", "ActivityType", "OnlineStatus", "Presence"])
def test_what_is_received_is_found_by_its_earlier_name_with_a_warning(name: str) -> None:
    renamed = getattr(models, f"Received{name}")
    with pytest.warns(DeprecationWarning, match=f"{name} is called Received{name} now.* propylon.{name}$") as caught:
        assert getattr(models, name) is renamed
    assert caught[0].filename == __file__
    assert name not in models.__all__
    assert getattr(propylon, name) is not renamed
    with pytest.raises(AttributeError, match="no attribute 'Presense'"):
        _ = models.Presense  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("package", [events, models], ids=["events", "models"])
def test_every_public_name_has_a_docstring(package: ModuleType) -> None:
    for name in package.__all__:
        value = getattr(package, name)
        if isinstance(value, type):
            assert value.__doc__, name
            for member, content in vars(value).items():
                if isinstance(content, property) or (callable(content) and not member.startswith("_")):
                    assert content.__doc__, f"{name}.{member}"


def test_the_bits_of_intents_are_those_that_users_see() -> None:
    for name in _intents.__all__:
        if name != "NO_INTENT":
            assert getattr(_intents, name) == Intents[name]
