"""docs/scale.md has the tables that benches/scale_model.py makes of the constants that are kept."""

import importlib
import json
import sys
from types import ModuleType

import pytest
from blocks import REPOSITORY


@pytest.fixture(scope="module")
def model() -> ModuleType:
    """The script, which stands with its like and in no package."""
    folder = str(REPOSITORY / "benches")
    sys.path.insert(0, folder)
    try:
        return importlib.import_module("scale_model")
    finally:
        sys.path.remove(folder)


def test_the_page_is_what_the_model_gives(model: ModuleType) -> None:
    text = (REPOSITORY / "docs" / "scale.md").read_text("utf-8")
    kept = json.loads((REPOSITORY / "benches" / "results" / "scale.json").read_text("utf-8"))
    assert text == model.page(text, kept), "run benches/scale_model.py --write"


def test_its_numbers_are_those_of_the_cluster(model: ModuleType) -> None:
    """What the model takes for granted stands in the code."""
    from propylon._sessions import keeping
    from propylon.cluster import _gate, _host_life, _host_shard, _keys, _membership

    assert (model.PARTITIONS, model.TTL, model.RENEWED_EVERY) == (_keys.PARTITIONS, _keys.TTL, _keys.RENEWED_EVERY)
    assert model.RESYNC == _membership._RESYNC
    assert (model.WINDOW, model.ASKED_EVERY) == (_gate._SPACING, _gate._LONGEST_WAIT)
    assert (model.SAVED_EVERY, model.BEFORE_SAVED) == (keeping._INTERVAL, _host_shard._EARLIER)
    assert model.LOOK_EVERY == _host_life._LOOK


def test_a_start_takes_what_discord_asks_for(model: ModuleType) -> None:
    """One IDENTIFY of each bucket at once, and the last of 10,000 after 624 windows."""
    assert model.start_up(16, 16) == 0
    assert model.start_up(17, 16) == model.WINDOW
    assert model.start_up(10_000, 16) == 624 * model.WINDOW


def test_what_grows_grows_as_it_should(model: ModuleType) -> None:
    one, more = model.Bot(1_000, 10, 10), model.Bot(2_000, 10, 10)
    assert more.events == 2 * one.events
    # Of more events more share a message.
    assert one.messages < more.messages < 2 * one.messages
    # Every host hears of every lease.
    assert model.Bot(1_000, 20, 10).told > 1.9 * one.told - one.workers * one.told_to_a_worker
