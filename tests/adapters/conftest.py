"""What the libraries under the adapters warn of is theirs."""

import gc
import os
from collections.abc import Iterator, Sequence

import pytest

from propylon.adapters import _versions

if os.environ.get("PROPYLON_TEST_NEWEST"):
    # `make test-adapters`: what breaks with a version that we do not support yet.
    _versions.check_version = lambda *_: None


@pytest.fixture(scope="module", autouse=True)
def what_is_left_is_freed_here() -> Iterator[None]:
    """Not in a later module, whose tests would be told of it as theirs. The last test's filters hold still."""
    yield
    gc.collect()


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    for item in items:
        if "adapters" in item.path.parts:
            item.add_marker(pytest.mark.filterwarnings("ignore::DeprecationWarning"))
            # aiohttp's and discord.py's own sockets, where a test has cut the server from under them.
            item.add_marker(pytest.mark.filterwarnings("ignore::ResourceWarning"))
