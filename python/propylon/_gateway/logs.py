"""What a gateway says to `logging`: whose line it is.

Four loggers: ``propylon.gateway`` tells of connections, ``propylon.payload`` of events as they came (see
`Gateway.log_payloads`), ``propylon.recording`` of files that are recorded to, ``propylon`` of everything else. None
says anything below WARNING unless the program lets it.
"""

import logging
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any, Final

__all__ = ["GatewayLog"]

if TYPE_CHECKING:
    _Adapter = logging.LoggerAdapter[logging.Logger]
else:
    _Adapter = logging.LoggerAdapter


class GatewayLog(_Adapter):
    """The lines of one gateway; those of a shard say of which."""

    def __init__(self, shard: tuple[int, int] | None) -> None:
        """``shard`` is ``(shard_id, shard_count)``."""
        super().__init__(logging.getLogger("propylon.gateway"), {})
        self._prefix: Final = "" if shard is None else f"shard {shard[0]}: "
        self._extra: Final = {"shard": 0 if shard is None else shard[0]}

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """Name the shard."""
        kwargs["extra"] = self._extra
        return f"{self._prefix}{msg}", kwargs
