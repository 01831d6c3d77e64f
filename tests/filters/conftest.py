"""The stage of the listeners' tests, on both event loops."""

from listeners.conftest import gateway, pytest_asyncio_loop_factories, stage

__all__ = ["gateway", "pytest_asyncio_loop_factories", "stage"]
