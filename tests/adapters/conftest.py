"""What the libraries under the adapters warn of is theirs."""

from collections.abc import Sequence

import pytest


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    for item in items:
        if "adapters" in item.path.parts:
            item.add_marker(pytest.mark.filterwarnings("ignore::DeprecationWarning"))
            # aiohttp's and discord.py's own sockets, where a test has cut the server from under them.
            item.add_marker(pytest.mark.filterwarnings("ignore::ResourceWarning"))
