"""Options from a TOML file and the environment: who wins, what is refused, and where the text says that it stands."""

import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from propylon import (
    Activity,
    Backoff,
    FileSessionStore,
    Gateway,
    Intents,
    OnlineStatus,
    Presence,
    ShardManager,
    Timeouts,
)
from propylon._fleet.manager import ManagerOptions
from propylon._gateway.config import VARIABLES, Config, GatewayOptions, configured
from propylon.testing import Simulator

Start = Callable[..., Simulator]
Write = Callable[..., Path]


@pytest.fixture(autouse=True)
def nothing_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name in VARIABLES]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DISCORD_TOKEN", "hush")


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(*lines: str, name: str = "bot.toml", table: str = "[propylon]") -> Path:
        path = tmp_path / name
        path.write_text("\n".join([table, *lines]))
        return path

    return write


def made(file: Path | None = None, **options: Any) -> dict[str, Any]:
    """The options that a gateway would be made of."""

    def make(**given: Any) -> dict[str, Any]:
        Gateway(**given)
        return given

    return configured(make, Gateway, file, options)


# ---------------------------------------------------------------- what there is


@pytest.mark.parametrize(("kind", "options"), [(Gateway, GatewayOptions), (ShardManager, ManagerOptions)])
def test_a_call_may_give_what_the_class_takes(kind: type, options: type) -> None:
    assert set(options.__annotations__) == set(inspect.signature(kind).parameters)


def test_what_can_be_written_is_an_option_and_the_rest_are_objects() -> None:
    takes = {*inspect.signature(Gateway).parameters, *inspect.signature(ShardManager).parameters}
    # `total` is written with the shards: 0-15/64.
    assert takes - set(Config.__struct_fields__) == {"session", "lifespan", "gate", "total"}
    assert set(Config.__struct_fields__) < takes


def test_every_option_can_be_written_in_a_file(write: Write, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").touch()
    file = write(
        'token = "other"',
        'intents = ["guilds", "guild-messages"]',
        'compression = "none"',
        "large_threshold = 100",
        "auto_reconnect = false",
        'shard = "1/4"',
        'sessions = "sessions.json"',
        'gateway_url = "ws://127.0.0.1:9"',
        'api_url = "http://127.0.0.1:9"',
        'overflow = "drop_oldest"',
        "queue_bytes = 1_000_000",
        "max_pending = 7",
        "max_payload_bytes = 65536",
        'misfits = "error"',
        "wake_interval = 0",
        'proxy = "socks5://proxy:1"',
        'ca_file = "ca.pem"',
        "native_roots = true",
        "allow_plaintext = true",
        'admin = "127.0.0.1:0"',
        "admin_remote = true",
        "[propylon.timeouts]",
        "connect = 5",
        "[propylon.backoff]",
        "cap = 9.5",
        "[propylon.identify_properties]",
        'device = "mine"',
        "[propylon.presence]",
        'status = "idle"',
        "activities = [",
        '  { type = "watching", name = "you" },',
        '  { type = "streaming", name = "live", url = "https://twitch.tv/x" },',
        '  { type = "custom", name = "hm" },',
        '  { name = "chess" },',
        "]",
    )
    given = made(file)
    sessions = given.pop("sessions")
    assert isinstance(sessions, FileSessionStore)
    assert given == {
        "token": "hush",
        "intents": Intents.GUILDS | Intents.GUILD_MESSAGES,
        "compression": None,
        "presence": Presence(
            [
                Activity.watching("you"),
                Activity.streaming("live", "https://twitch.tv/x"),
                Activity.custom("hm"),
                Activity.playing("chess"),
            ],
            OnlineStatus.IDLE,
        ),
        "large_threshold": 100,
        "auto_reconnect": False,
        "shard": (1, 4),
        "gateway_url": "ws://127.0.0.1:9",
        "api_url": "http://127.0.0.1:9",
        "timeouts": Timeouts(connect=5),
        "backoff": Backoff(cap=9.5),
        "overflow": "drop_oldest",
        "queue_bytes": 1_000_000,
        "max_pending": 7,
        "max_payload_bytes": 65536,
        "misfits": "error",
        "wake_interval": 0.0,
        "proxy": "socks5://proxy:1",
        # As seen from the file's folder.
        "ca_file": str(tmp_path / "ca.pem"),
        "native_roots": True,
        "identify_properties": {"device": "mine"},
        "allow_plaintext": True,
        "admin": "127.0.0.1:0",
        "admin_remote": True,
    }
    # The token is the one thing that the environment has here.
    assert set(given) | {"sessions", "session", "lifespan"} == set(inspect.signature(Gateway).parameters)


@pytest.mark.parametrize(
    ("variable", "text", "option", "value"),
    [
        ("PROPYLON_INTENTS", "guilds,guild-messages", "intents", Intents.GUILDS | Intents.GUILD_MESSAGES),
        ("PROPYLON_INTENTS", "513", "intents", Intents(513)),
        ("PROPYLON_INTENTS", "auto", "intents", "auto"),
        ("PROPYLON_COMPRESSION", "none", "compression", None),
        ("PROPYLON_AUTO_RECONNECT", "false", "auto_reconnect", False),
        ("PROPYLON_SHARD", "0/2", "shard", (0, 2)),
        ("PROPYLON_QUEUE_BYTES", " 4096 ", "queue_bytes", 4096),
        ("PROPYLON_WAKE_INTERVAL", "0.5", "wake_interval", 0.5),
        ("PROPYLON_TIMEOUTS_CONNECT", "5", "timeouts", Timeouts(connect=5)),
        ("PROPYLON_PRESENCE_STATUS", "dnd", "presence", Presence(status=OnlineStatus.DND)),
        ("PROPYLON_IDENTIFY_PROPERTIES_OS", "none", "identify_properties", {"os": "none"}),
        ("PROPYLON_ADMIN_REMOTE", "1", "admin_remote", True),
    ],
)
def test_a_variable_is_read_as_its_option(
    monkeypatch: pytest.MonkeyPatch, variable: str, text: str, option: str, value: object
) -> None:
    monkeypatch.setenv(variable, text)
    assert made() == {"token": "hush", option: value}


def test_every_option_but_lists_of_tables_has_a_variable() -> None:
    assert {path[0] for path in VARIABLES.values()} == set(Config.__struct_fields__)
    assert ("presence", "activities") not in VARIABLES.values()


# ---------------------------------------------------------------- who wins


def test_a_call_goes_before_the_environment_and_that_before_the_file(
    monkeypatch: pytest.MonkeyPatch, write: Write
) -> None:
    file = write("max_pending = 1", "queue_bytes = 1", "large_threshold = 51", 'token = "file"')
    monkeypatch.setenv("PROPYLON_MAX_PENDING", "2")
    monkeypatch.setenv("PROPYLON_QUEUE_BYTES", "2")
    assert made(file, max_pending=3) == {
        "token": "hush",
        "max_pending": 3,
        "queue_bytes": 2,
        "large_threshold": 51,
    }
    monkeypatch.delenv("DISCORD_TOKEN")
    assert made(file)["token"] == "file"
    assert made(file, token="call")["token"] == "call"


def test_tables_are_put_together_and_a_call_gives_a_whole_one(monkeypatch: pytest.MonkeyPatch, write: Write) -> None:
    file = write("[propylon.timeouts]", "connect = 1", "hello = 1")
    monkeypatch.setenv("PROPYLON_TIMEOUTS_CONNECT", "2")
    assert made(file)["timeouts"] == Timeouts(connect=2, hello=1)
    assert made(file, timeouts=Timeouts(ready=3))["timeouts"] == Timeouts(ready=3)
    assert made(file, timeouts=None)["timeouts"] is None


def test_an_empty_variable_is_as_none(monkeypatch: pytest.MonkeyPatch, write: Write) -> None:
    monkeypatch.setenv("PROPYLON_PROXY", " ")
    monkeypatch.setenv("DISCORD_TOKEN", "")
    assert made(write('proxy = "http://p"', 'token = "t"')) == {"proxy": "http://p", "token": "t"}


def test_other_tables_and_other_variables_are_the_bots_own(monkeypatch: pytest.MonkeyPatch, write: Write) -> None:
    for name in ("PROPYLON_IO_THREADS", "PROPYLON_NATS_URL", "PROPYLON_APP", "PROPYLON_TEST_SHARDS", "PROPYLON_SHARDS"):
        monkeypatch.setenv(name, "1")
    assert made(write("max_pending = 1", "[database]", 'url = "x"')) == {"token": "hush", "max_pending": 1}


# ---------------------------------------------------------------- what is refused

WRONG: dict[str, tuple[str, str]] = {
    "a key that is not": ("queue_byte = 1", r"propylon\.queue_byte: there is no such option; did you mean queue_bytes"),
    "one like none": ("zebra = 1", r"propylon\.zebra: there is no such option; there are token, intents, "),
    "in a table": ("timeouts.conect = 1", r"propylon\.timeouts\.conect: there is no such option; did you mean connect"),
    "in a list": ('presence.activities = [{ nme = "x" }]', r"presence\.activities\.nme: .* did you mean name"),
    "of a fleet": ("shards = 4", r"propylon\.shards: a Gateway has no such option"),
    "text for a number": ('queue_bytes = "1"', r"propylon\.queue_bytes: takes a whole number$"),
    "number for text": ("proxy = 1", r"propylon\.proxy: takes text$"),
    "text for a switch": ('native_roots = "yes"', r"propylon\.native_roots: takes true or false$"),
    "no table": ("timeouts = 5", r"propylon\.timeouts: takes a table$"),
    "no choice": ('overflow = "hush"', r'propylon\.overflow: takes "drop_oldest" or "pause"$'),
    "no status": ('presence.status = "hush"', r'propylon\.presence\.status: takes "online", "idle", '),
    "no kind": (
        'presence.activities = [{ name = "x", type = "hush" }]',
        r'activities\.type: takes "competing", "custom", ',
    ),
    "no url": ('presence.activities = [{ name = "x", type = "streaming" }]', r"propylon\.presence: .* needs a url"),
    "url": ('presence.activities = [{ name = "x", url = "hush" }]', r"propylon\.presence: only .* has a url"),
    "no intent": ('intents = ["guild"]', r"propylon\.intents: 'guild' is no intent; did you mean GUILDS"),
    "no intents": ("intents = 1.5", r"propylon\.intents: takes a whole number, text or a list of texts$"),
    "no shard": ('shard = "4/4"', r"propylon\.shard: '4/4' is no shard"),
    "less than nothing": ("timeouts.connect = -1", r"propylon\.timeouts: Timeouts\(connect=-1\.0\): must be a number"),
    "out of range": ("large_threshold = 300", r"propylon\.large_threshold: large_threshold must be 50 to 250"),
    "no proxy": ('proxy = "hush"', r"propylon\.proxy: proxy: it is no URL"),
    "no such file": ('ca_file = "there-is-none.pem"', r"propylon\.ca_file: ca_file .*there-is-none\.pem: No such file"),
    "no TOML": ("x y", r" is no TOML: "),
    "token": ('token = 7\nproxy = "hush"', r"propylon\.token: takes text$"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_mistake_in_a_file_is_told_with_file_key_and_what_is_allowed(write: Write, wrong: str) -> None:
    line, words = WRONG[wrong]
    file = write(line)
    with pytest.raises(ValueError, match=words) as raised:
        Gateway.from_config(file)
    assert str(raised.value).startswith(str(file))
    assert "hush" not in str(raised.value)


@pytest.mark.parametrize(
    ("variable", "text", "words"),
    [
        ("PROPYLON_QUEUE_BYTES", "hush", "takes a whole number"),
        ("PROPYLON_NATIVE_ROOTS", "hush", "takes true or false"),
        ("PROPYLON_TIMEOUTS_CONNECT", "hush", "takes a number"),
        ("PROPYLON_OVERFLOW", "hush", 'takes "drop_oldest" or "pause"'),
        ("PROPYLON_INTENTS", "guild", "'guild' is no intent; did you mean GUILDS"),
        ("PROPYLON_PROXY", "hush", "proxy: it is no URL"),
        ("PROPYLON_TIMEOUTS_CONNECT", "-1", r"Timeouts\(connect=-1\.0\): must be"),
        ("PROPYLON_TIMEOUT_CONNECT", "1", "there is no such variable; did you mean PROPYLON_TIMEOUTS_CONNECT"),
        ("PROPYLON_PROXXY", "hush", "there is no such variable; did you mean PROPYLON_PROXY"),
    ],
)
def test_a_mistake_in_a_variable_is_told_with_its_name(
    monkeypatch: pytest.MonkeyPatch, write: Write, variable: str, text: str, words: str
) -> None:
    monkeypatch.setenv(variable, text)
    with pytest.raises(ValueError, match=f"^{variable}: .*{words}") as raised:
        Gateway.from_config(write("queue_bytes = 5"))
    assert "hush" not in str(raised.value)


def test_a_file_without_the_table_or_without_text_says_so(write: Write, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"bot\.toml has no table \[propylon\]; write the options below that line"):
        Gateway.from_config(write("max_pending = 1", table=""))
    (tmp_path / "bytes.toml").write_bytes(b"\xff")
    with pytest.raises(ValueError, match=r"bytes\.toml is no TOML: it is not UTF-8"):
        Gateway.from_config(tmp_path / "bytes.toml")
    with pytest.raises(FileNotFoundError, match=r"none\.toml"):
        Gateway.from_config(tmp_path / "none.toml")


def test_without_a_token_it_says_where_one_may_stand(monkeypatch: pytest.MonkeyPatch, write: Write) -> None:
    monkeypatch.delenv("DISCORD_TOKEN")
    with pytest.raises(ValueError, match=r"there is no token: set the variable DISCORD_TOKEN, give token=$"):
        Gateway.from_config()
    with pytest.raises(ValueError, match=r"give token=, or token in .*bot\.toml$"):
        Gateway.from_config(write())


def test_what_the_call_gives_wrong_is_not_blamed_on_the_file(write: Write) -> None:
    with pytest.raises(ValueError, match=r"^large_threshold must be 50 to 250"):
        Gateway.from_config(write("large_threshold = 60"), large_threshold=300)
    with pytest.raises(TypeError, match="zebra"):
        Gateway.from_config(write(), zebra=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


# ---------------------------------------------------------------- and it works


@pytest.mark.asyncio(loop_factories=["asyncio"])
async def test_a_gateway_of_a_file_connects_as_it_says(
    propylon_simulator: Start, monkeypatch: pytest.MonkeyPatch, write: Write
) -> None:
    sim = propylon_simulator(shards=4)
    monkeypatch.setenv("PROPYLON_GATEWAY_URL", sim.url)
    file = write('intents = "guilds"', 'shard = "1/4"', 'compression = "zlib-stream"', 'presence.status = "dnd"')
    async with Gateway.from_config(str(file)) as gateway:
        assert gateway.shard == (1, 4)
        (connection,) = sim.record()["connections"]
        assert connection["query"]["compress"] == "zlib-stream"
        identify = connection["ops"][0]["payload"]["d"]
        assert (identify["intents"], identify["presence"]["status"]) == (1, "dnd")


@pytest.mark.asyncio(loop_factories=["asyncio"])
@pytest.mark.parametrize(("written", "ids"), [("2", [0, 1]), ('"2-3/4"', [2, 3]), ('"auto"', [0, 1])])
async def test_a_manager_of_a_file_has_its_shards(
    propylon_simulator: Start, write: Write, written: str, ids: list[int]
) -> None:
    sim = propylon_simulator(shards=2 if written != '"2-3/4"' else 4)
    file = write(f"shards = {written}", f'api_url = "{sim.api_url}"', "intents = 1", "reshard_at = 1")
    async with ShardManager.from_config(file) as manager:
        assert list(manager.shards) == ids


def test_a_subclass_with_arguments_of_its_own_is_made_too(write: Write) -> None:
    class Mine(Gateway):
        def __init__(self, token: str, **options: Any) -> None:
            super().__init__(token, **options)
            self.mine = True

    gateway = Mine.from_config(write('shard = "0/3"'))
    assert (gateway.mine, gateway.shard) == (True, (0, 3))


def test_a_manager_tells_what_is_wrong_with_its_shards(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"bot\.toml: propylon\.shards: '4/2': .*the last one of 2 is 1"):
        ShardManager.from_config(write('shards = "4/2"'))
    with pytest.raises(ValueError, match=r"bot\.toml: propylon\.shard: a ShardManager has no such option"):
        ShardManager.from_config(write('shard = "0/2"'))
    monkeypatch.setenv("PROPYLON_RESHARD_AT", "2")
    with pytest.raises(ValueError, match=r"^PROPYLON_RESHARD_AT: reshard_at is a part"):
        ShardManager.from_config()


def test_the_token_is_in_no_repr() -> None:
    assert "hush" not in repr(Config(token="hush", proxy="http://a:hush@b"))
