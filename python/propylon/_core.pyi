import builtins
from collections.abc import Callable
from types import GenericAlias
from typing import Any, Final, Generic, Literal, TypeAlias, final

from typing_extensions import Buffer, TypeVar

_E = TypeVar("_E", default=Any)
_T = TypeVar("_T")

# Of type checkers only: the module has no such name at run time.
GuildChange: TypeAlias = Literal["available", "joined", "unavailable", "removed"]

DEBUG_BUILD: Final[bool]

@final
class Dispatch(Generic[_E], Buffer):
    """One event as it came: the holder of its bytes, decoded on first touch.

    A read-only buffer (``memoryview(dispatch)``) over the JSON text of the event's ``d``. Pickles. Holding one keeps up
    to 32 KiB of the events around it in memory; copy out of it what you keep for long.
    """

    def __new__(
        cls,
        type: str,
        raw: bytes,
        *,
        shard_id: int = 0,
        sequence: int | None = None,
        received_at: float = 0.0,
        guild_change: GuildChange | None = None,
    ) -> Dispatch[Any]: ...
    @property
    def type(self) -> str:
        """Name of the event, such as ``MESSAGE_CREATE``."""
    @property
    def shard_id(self) -> int:
        """Id of the shard it came on; 0 without sharding."""
    @property
    def sequence(self) -> int | None:
        """``s`` of the payload; None where the server sent none."""
    @property
    def received_at(self) -> float:
        """When it was read from the socket: seconds of `time.monotonic`."""
    @property
    def guild_change(self) -> GuildChange | None:
        """What a GUILD_CREATE or GUILD_DELETE means; None for other events and for a stub that says nothing yet.

        ``"available"``: a guild of READY, or one after an outage, is there. ``"joined"``: the bot was added to it.
        ``"unavailable"``: an outage, the bot is still in it. ``"removed"``: the bot is no longer in it.
        https://discord.com/developers/docs/events/gateway-events#guild-create
        """
    @property
    def raw(self) -> bytes:
        """The JSON text of ``d``, byte for byte as Discord sent it; not validated."""
    @property
    def data(self) -> _E:
        """The typed payload, decoded on first touch and shared by all listeners; a dict for an event without a class.

        Raises `ModelError`, every time, where the payload does not fit.
        """
    @property
    def model_error(self) -> Exception | None:
        """Decodes; the error of `data`, or None."""
    def json(self) -> Any:
        """``d`` as plain dicts, lists and strings; ids stay strings. Raises `ModelError` where it is no JSON."""
    def decode(self, type: builtins.type[_T], /) -> _T:
        """``d`` as a type of yours that msgspec can decode. Raises `ModelError` where it does not fit."""
    def __len__(self) -> int:
        """Length of `raw` in bytes."""
    def __buffer__(self, flags: int, /) -> memoryview: ...
    @classmethod
    def __class_getitem__(cls, item: Any, /) -> GenericAlias: ...

@final
class Hub:
    def __new__(cls) -> Hub: ...
    @property
    def fd(self) -> int: ...
    def drain(
        self, limit: int, /
    ) -> tuple[list[tuple[Any, ...]], list[tuple[int, int, list[Dispatch[Any]], list[int]]]]: ...

@final
class Shard:
    def __new__(cls, options: dict[str, Any], /) -> Shard: ...
    @property
    def key(self) -> int: ...
    def bind(self, hub: Hub | None, /) -> None: ...
    def start(self) -> None: ...
    @property
    def running(self) -> bool: ...
    def close(self, code: int, reason: str, /) -> bool: ...
    def send(self, id: int, opcode: int, payload: str, /) -> bool: ...
    def set_presence(self, id: int, presence: str, /) -> bool: ...
    def cancel(self, id: int, /) -> bool: ...
    def stop_reconnecting(self) -> bool: ...
    def subscribe(self, generation: int, events: list[str], unknown: bool, /) -> None: ...
    def hold(self, held: bool, /) -> None: ...
    @property
    def oldest_generation(self) -> int | None: ...
    @property
    def status(self) -> str: ...
    @property
    def latency(self) -> float | None: ...
    @property
    def guilds_ready(self) -> bool: ...
    @property
    def identify_blocked_until(self) -> float | None: ...
    @property
    def session(self) -> tuple[str, int, str | None, tuple[int, int] | None, int] | None: ...
    def set_session(self, session: tuple[str, int, str | None, tuple[int, int] | None, int] | None, /) -> None: ...
    def snapshot(self) -> dict[str, Any]: ...

@final
class Simulator:
    def __new__(cls, config: str, /) -> Simulator: ...
    @property
    def url(self) -> str: ...
    @property
    def resume_url(self) -> str: ...
    @property
    def api_url(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def ca_pem(self) -> str | None: ...
    def script(self, script: str, /) -> None: ...
    def act(self, selector: str, step: str, /) -> None: ...
    def dispatch(self, event: str, data: str, session: str | None = None, /) -> int: ...
    def flood(self, on: bool, rate: float | None = None, /) -> None: ...
    def record(self) -> str: ...
    def wait(self, condition: str, timeout: float, /) -> bool: ...
    def stop(self) -> None: ...

def set_decoders(
    decode: Callable[[Dispatch[Any]], object],
    to_json: Callable[[Dispatch[Any]], object],
    decode_as: Callable[[Dispatch[Any], Any], object],
    restore: Callable[..., Dispatch[Any]],
    /,
) -> None: ...
def shutdown(timeout: float, /) -> None: ...
def event_intents() -> dict[str, int]: ...
def event_index() -> dict[str, int]: ...
def intents_table() -> list[tuple[str, int, bool]]: ...
