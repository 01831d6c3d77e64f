"""What the tests of sessions share. They run on asyncio's own event loop and on uvloop."""

from collections.abc import Callable, Mapping
from typing import Any

from face.support import loop_factories
from propylon import Session, SessionTakenOver


class MemoryStore:
    """A store that writes down what it was asked."""

    def __init__(self) -> None:
        self.sessions: dict[str, Session] = {}
        self.calls: list[tuple[str, int | None]] = []
        self.fails: Exception | None = None

    async def load(self, key: str, /) -> Session | None:
        self.calls.append(("load", None))
        self._fail()
        return self.sessions.get(key)

    async def save(self, key: str, session: Session, /) -> None:
        self.calls.append(("save", session.sequence))
        self._fail()
        self.sessions[key] = session

    async def delete(self, key: str, /) -> None:
        self.calls.append(("delete", None))
        self._fail()
        self.sessions.pop(key, None)

    def _fail(self) -> None:
        if self.fails is not None:
            raise self.fails

    @property
    def only(self) -> Session | None:
        """The one session in it."""
        assert len(self.sessions) <= 1
        return next(iter(self.sessions.values()), None)


class FencedStore(MemoryStore):
    """The same, which several processes share: here several gateways."""

    def __init__(self) -> None:
        super().__init__()
        self.epochs: dict[str, int] = {}

    async def claim(self, key: str, /) -> int:
        self.calls.append(("claim", None))
        self._fail()
        self.epochs[key] = self.epochs.get(key, 0) + 1
        return self.epochs[key]

    async def save(self, key: str, session: Session, epoch: int | None = None, /) -> None:
        self._check(key, epoch)
        await super().save(key, session)

    async def delete(self, key: str, epoch: int | None = None, /) -> None:
        self._check(key, epoch)
        await super().delete(key)

    def _check(self, key: str, epoch: int | None) -> None:
        if epoch is not None and epoch != self.epochs.get(key):
            self.calls.append(("refused", epoch))
            raise SessionTakenOver


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], Any]]:
    return loop_factories()
