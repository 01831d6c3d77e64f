"""Options from a TOML file and from the environment: `Config` says which there are and what they may hold.

Owns who wins, and where a text says that a mistake is; what an option means is told at `Gateway`, and whether its value
can work is left to `settings`.
"""

import inspect
import os
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, TypedDict, TypeGuard, TypeVar

import msgspec
import msgspec.inspect
from msgspec import UNSET, UnsetType

from propylon._gateway.options import Backoff, Compression, Misfits, Overflow, Timeouts
from propylon._gateway.written import compression_of, intents_of, shard_of
from propylon._names import nearest
from propylon._sessions.session import Session
from propylon._sessions.stores import FileSessionStore, SessionStore
from propylon.intents import Intents
from propylon.presence import Activity, OnlineStatus, Presence

__all__ = ["GatewayOptions", "SharedOptions", "configured"]

T = TypeVar("T")
Place: TypeAlias = tuple[str, ...]
"""An option, or a part of a table: ``("timeouts", "connect")``."""

_TABLE: Final = "propylon"
"""Of the file; other tables are the bot's own."""
_PREFIX: Final = "PROPYLON_"
_TOKEN: Final = "DISCORD_TOKEN"
_PATHS: Final = ("ca_file", "sessions")
_SURE: Final = 0.75
"""Likeness of a variable's name to one of ours, without the prefix: others have it too, such as those of tests."""


class SharedOptions(TypedDict, total=False):
    """What a call may give beside file and environment, whatever it makes."""

    token: str
    intents: Intents | int | Literal["auto"]
    compression: Compression
    large_threshold: int
    auto_reconnect: bool
    sessions: SessionStore | None
    gateway_url: str | None
    api_url: str
    timeouts: Timeouts | None
    backoff: Backoff | None
    overflow: Overflow
    queue_bytes: int
    max_pending: int
    max_payload_bytes: int
    misfits: Misfits
    wake_interval: float
    proxy: str | None
    ca_file: str | os.PathLike[str] | None
    native_roots: bool
    identify_properties: dict[str, str] | None
    allow_plaintext: bool
    admin: str | None
    admin_remote: bool
    lifespan: Callable[[Any], AbstractAsyncContextManager[object]] | None


class GatewayOptions(SharedOptions, total=False):
    """The same for a `Gateway`."""

    presence: Presence | None
    shard: tuple[int, int] | None
    session: Session | None


class _Activity(msgspec.Struct, kw_only=True):
    name: str
    type: Literal["playing", "streaming", "listening", "watching", "competing", "custom"] = "playing"
    url: str | UnsetType = UNSET

    def value(self) -> Activity:
        if self.type == "streaming":
            if self.url is UNSET:
                raise ValueError('an activity of the type "streaming" needs a url')
            return Activity.streaming(self.name, self.url)
        if self.url is not UNSET:
            raise ValueError('only an activity of the type "streaming" has a url')
        make: Callable[[str], Activity] = getattr(Activity, self.type)
        return make(self.name)


class _Presence(msgspec.Struct, kw_only=True):
    status: OnlineStatus = OnlineStatus.ONLINE
    afk: bool = False
    activities: list[_Activity] = []

    def value(self) -> Presence:
        return Presence([activity.value() for activity in self.activities], self.status, self.afk)


class _Properties(msgspec.Struct, kw_only=True):
    os: str | UnsetType = UNSET
    browser: str | UnsetType = UNSET
    device: str | UnsetType = UNSET


class Config(msgspec.Struct, kw_only=True):
    """The options that can be written down. What one of them is called here it is called everywhere."""

    token: str | UnsetType = UNSET
    intents: int | str | list[str] | UnsetType = UNSET
    compression: Literal["zstd-stream", "zlib-stream", "payload", "none"] | UnsetType = UNSET
    presence: _Presence | UnsetType = UNSET
    large_threshold: int | UnsetType = UNSET
    auto_reconnect: bool | UnsetType = UNSET
    shard: str | UnsetType = UNSET
    sessions: str | UnsetType = UNSET
    gateway_url: str | UnsetType = UNSET
    api_url: str | UnsetType = UNSET
    timeouts: Timeouts | UnsetType = UNSET
    backoff: Backoff | UnsetType = UNSET
    overflow: Overflow | UnsetType = UNSET
    queue_bytes: int | UnsetType = UNSET
    max_pending: int | UnsetType = UNSET
    max_payload_bytes: int | UnsetType = UNSET
    misfits: Misfits | UnsetType = UNSET
    wake_interval: float | UnsetType = UNSET
    proxy: str | UnsetType = UNSET
    ca_file: str | UnsetType = UNSET
    native_roots: bool | UnsetType = UNSET
    identify_properties: _Properties | UnsetType = UNSET
    allow_plaintext: bool | UnsetType = UNSET
    admin: str | UnsetType = UNSET
    admin_remote: bool | UnsetType = UNSET
    # Of a ShardManager.
    shards: int | str | UnsetType = UNSET
    auto_reshard: bool | UnsetType = UNSET
    reshard_at: float | UnsetType = UNSET
    shard_queue_bytes: int | UnsetType = UNSET

    def __repr__(self) -> str:
        """Without token and the proxy's password."""
        return "<Config>"


_Table: TypeAlias = msgspec.inspect.StructType | msgspec.inspect.DataclassType
_INFO: Final = msgspec.inspect.type_info(Config)


def _is_table(value: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def _is_list(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def _fields(table: _Table) -> dict[str, msgspec.inspect.Type]:
    return {field.encode_name: field.type for field in table.fields}


def _leaves(table: _Table, above: Place = ()) -> Iterator[Place]:
    """What a variable can hold: all but lists of tables."""
    for name, kind in _fields(table).items():
        if isinstance(kind, _Table):
            yield from _leaves(kind, (*above, name))
        elif not isinstance(kind, msgspec.inspect.ListType):
            yield (*above, name)


def _variables() -> dict[str, Place]:
    assert isinstance(_INFO, _Table)
    return {_PREFIX + "_".join(path).upper(): path for path in _leaves(_INFO) if path != ("token",)} | {
        _TOKEN: ("token",)
    }


VARIABLES: Final = _variables()
"""The variables of the environment, and what each is for."""


def _kind_at(path: Place) -> msgspec.inspect.Type:
    kind = _INFO
    for name in path:
        if isinstance(kind, msgspec.inspect.ListType):
            kind = kind.item_type
        assert isinstance(kind, _Table)
        kind = _fields(kind)[name]
    return kind


def _either(texts: list[str]) -> str:
    return " or ".join(filter(None, [", ".join(texts[:-1]), texts[-1]]))


def _allowed(kind: msgspec.inspect.Type) -> str:
    """What a value may be, in words."""
    match kind:
        case msgspec.inspect.UnionType():
            return _either([_allowed(each) for each in kind.types])
        case msgspec.inspect.LiteralType():
            return _either([f'"{value}"' for value in kind.values])
        case msgspec.inspect.EnumType():
            return _either([f'"{member.value}"' for member in kind.cls])
        case msgspec.inspect.ListType():
            return f"a list of {_allowed(kind.item_type).removeprefix('a ')}s"
        case msgspec.inspect.BoolType():
            return "true or false"
        case msgspec.inspect.IntType():
            return "a whole number"
        case msgspec.inspect.FloatType():
            return "a number"
        case _:
            return "a table" if isinstance(kind, _Table) else "text"


class _Sources:
    """Where each option was found, for errors."""

    def __init__(self, file: Path | None) -> None:
        self.file = file
        self.variables: dict[Place, str] = {}

    def where(self, path: Place) -> str:
        variables = [name for place, name in self.variables.items() if place[: len(path)] == path]
        return ", ".join(variables) or f"{self.file}: {'.'.join((_TABLE, *path))}"


def _convert(raw: dict[str, Any], sources: _Sources, *, strict: bool) -> Config:
    try:
        return msgspec.convert(raw, Config, strict=strict)
    except msgspec.ValidationError as error:
        said, _, place = str(error).partition(" - at `$.")
        path = tuple(re.sub(r"\[[^]]*\]|`", "", place).split("."))
        # The value is not repeated: it may be the token, in the wrong place.
        if "Expected `" in said or said.startswith("Invalid enum value"):
            said = f"takes {_allowed(_kind_at(path))}"
        raise ValueError(f"{sources.where(path)}: {said}") from None


def _check_names(raw: Mapping[str, Any], table: _Table, above: Place, sources: _Sources) -> None:
    known = _fields(table)
    for name, value in raw.items():
        path = (*above, name)
        if name not in known:
            near = nearest(name, known)
            hint = f"there are {', '.join(known)}" if near is None else f"did you mean {near}?"
            raise ValueError(f"{sources.where(path)}: there is no such option; {hint}")
        kind = known[name]
        if isinstance(kind, msgspec.inspect.ListType):
            kind = kind.item_type
        for each in value if _is_list(value) else [value]:
            if isinstance(kind, _Table) and _is_table(each):
                _check_names(each, kind, path, sources)


def _of_file(file: Path, sources: _Sources) -> dict[str, Any]:
    try:
        everything = tomllib.loads(file.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{file} is no TOML: {error}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{file} is no TOML: it is not UTF-8") from None
    raw = everything.get(_TABLE)
    if not _is_table(raw):
        raise ValueError(f"{file} has no table [{_TABLE}]; write the options below that line")
    assert isinstance(_INFO, _Table)
    _check_names(raw, _INFO, (), sources)
    _convert(raw, sources, strict=True)
    # As seen from the file, wherever the process was started.
    return raw | {name: str(file.parent / raw[name]) for name in _PATHS if name in raw}


def _of_environment(sources: _Sources) -> dict[str, Any]:
    raw: dict[str, Any] = {}
    for variable, text in sorted(os.environ.items()):
        path = VARIABLES.get(variable)
        if path is None:
            if not variable.startswith(_PREFIX):
                continue
            rest = {name.removeprefix(_PREFIX): name for name in VARIABLES}
            near = nearest(variable.removeprefix(_PREFIX), rest, _SURE)
            if near is not None:
                raise ValueError(f"{variable}: there is no such variable; did you mean {rest[near]}?")
        elif text.strip():
            sources.variables[path] = variable
            table = raw
            for name in path[:-1]:
                table = table.setdefault(name, {})
            table[path[-1]] = text.strip()
    _convert(raw, sources, strict=False)
    return raw


def _over(low: dict[str, Any], high: dict[str, Any]) -> dict[str, Any]:
    """Both, table by table."""
    both = dict(low)
    for name, value in high.items():
        below = both.get(name)
        both[name] = _over(below, value) if _is_table(value) and _is_table(below) else value
    return both


def _options_of(name: str, value: Any) -> dict[str, Any]:
    """What is written, as the options that it gives."""
    match name:
        case "intents":
            if isinstance(value, int):
                return {name: value}
            return {name: intents_of(value if isinstance(value, str) else ",".join(value))}
        case "compression":
            return {name: compression_of(value)}
        case "shard":
            return {name: shard_of(value)}
        case "sessions":
            return {name: FileSessionStore(value)}
        case "presence":
            return {name: value.value()}
        case "identify_properties":
            given = {part: getattr(value, part) for part in value.__struct_fields__}
            return {name: {part: text for part, text in given.items() if text is not UNSET}}
        case _:
            return {name: value}


def configured(
    make: Callable[..., T],
    like: Callable[..., object],
    file: str | os.PathLike[str] | None,
    options: Mapping[str, Any],
    written: Mapping[str, Callable[[Any], dict[str, Any]]] | None = None,
) -> T:
    """What ``make`` makes of ``options``, of the environment and of the file; the first that has one counts.

    ``like``: its parameters are the options that there are; ``make`` may be a subclass of the user's. ``written``: what
    becomes of options that this room does not know.

    Raises:
        ValueError: An option cannot be, or cannot work; the text says where it stands.
        OSError: The file cannot be read.
    """
    sources = _Sources(None if file is None else Path(file))
    low = {} if sources.file is None else _of_file(sources.file, sources)
    high = _of_environment(sources)
    config = _convert(_over(low, high), sources, strict=False)
    takes = inspect.signature(like).parameters
    given: dict[str, Any] = {}
    came: dict[str, str] = {}
    for name in Config.__struct_fields__:
        value = getattr(config, name)
        if value is UNSET or name in options:
            continue
        if name not in takes:
            # The environment may be that of several processes; a file is for one.
            if name in low:
                raise ValueError(f"{sources.where((name,))}: a {like.__name__} has no such option")
            continue
        try:
            made = (written or {}).get(name, lambda value, name=name: _options_of(name, value))(value)
        except ValueError as error:
            raise ValueError(f"{sources.where((name,))}: {error}") from None
        given |= made
        came |= dict.fromkeys(made, sources.where((name,)))
    given |= options
    if "token" not in given:
        where = "" if file is None else f", or token in {file}"
        raise ValueError(f"there is no token: set the variable {_TOKEN}, give token={where}")
    try:
        return make(**given)
    except (ValueError, TypeError) as error:
        # Texts begin with the option's name.
        names = sorted((name for name in came if str(error).startswith(name)), key=len)
        if not names or names[-1] in options:
            raise
        raise ValueError(f"{came[names[-1]]}: {error}") from None
