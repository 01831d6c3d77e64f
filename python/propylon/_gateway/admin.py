"""The admin server of a gateway or a fleet, while that is open; the engine serves it (`rust/core/src/admin`)."""

import logging
import platform
from typing import Final

import propylon._core as _core
from propylon._version import __version__

__all__ = ["Admin"]

_log: Final = logging.getLogger("propylon.gateway")


class Admin:
    """The server that was asked for, or none: then nothing here does anything."""

    def __init__(self, address: str | None, remote: bool) -> None:
        """Raises ValueError or TypeError where it could not listen there."""
        self._admin: _core.Admin | None = None
        self.ask(address, remote)

    def ask(self, address: str | None, remote: bool) -> None:
        """Take another address, from the next opening on. Raises as the constructor does."""
        if not (address is None or isinstance(address, str)):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f'admin takes an address as text, such as "127.0.0.1:9464", not {address!r:.100}')
        if not isinstance(remote, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"admin_remote takes True or False, not {remote!r:.100}")
        versions = __version__, platform.python_version()
        self._admin = None if address is None else _core.Admin(address, remote, *versions)

    @property
    def is_wanted(self) -> bool:
        """Whether there is to be one."""
        return self._admin is not None

    @property
    def address(self) -> tuple[str, int] | None:
        """Where it listens now."""
        return None if self._admin is None else self._admin.address

    def open(self) -> None:
        """Listen, or join the server that another gateway of this process has there. Raises OSError."""
        if self._admin is None:
            return
        self._admin.open()
        address = self._admin.address
        if address is not None:
            host, port = address
            _log.info("admin server: http://%s:%d", f"[{host}]" if ":" in host else host, port)

    def close(self) -> None:
        """Stop, unless others are shown there too."""
        if self._admin is not None:
            self._admin.close()

    def show(self, shard: _core.Shard) -> None:
        """Show a shard, while it is open."""
        if self._admin is not None:
            self._admin.show(shard)

    def hide(self, shard: _core.Shard) -> None:
        """Show it no more, because it is not one of those that should be READY."""
        if self._admin is not None:
            self._admin.hide(shard)

    def watch(self, watch: _core.Watch) -> None:
        """Show an event loop, while it is open."""
        if self._admin is not None:
            self._admin.watch(watch)

    def show_broker(self, broker: _core.Broker) -> None:
        """Show whether there is a connection to NATS, while it is open."""
        if self._admin is not None:
            self._admin.show_broker(broker)

    def show_publisher(self, publisher: _core.Publisher) -> None:
        """Show what publishes the events of a host, for as long as that lives."""
        if self._admin is not None:
            self._admin.show_publisher(publisher)

    def show_intake(self, intake: _core.Intake) -> None:
        """Show what reads the events of a partition, for as long as that lives."""
        if self._admin is not None:
            self._admin.show_intake(intake)

    def tell_cluster(self, view: bytes) -> None:
        """Show how a cluster stands, as JSON of the shape that the engine knows, while it is open."""
        if self._admin is not None:
            self._admin.tell_cluster(view)

    @property
    def looked(self) -> float | None:
        """Seconds since somebody looked at a snapshot; None where nobody has."""
        return None if self._admin is None else self._admin.looked
