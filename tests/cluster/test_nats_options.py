"""Where NATS is and who is let in: tokens, users, nkeys, TLS; and what an error does not say."""

import asyncio
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from cluster.nats import NatsServer, free_ports
from propylon.cluster._nats import Nats, check_app, connect, nats_of

SEED = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY"
PUBLIC = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4"


async def works(nats: Nats) -> None:
    broker = await connect(nats, "app")
    assert await broker.put("propylon-app", "k", b"v") > 0
    await broker.close()


@pytest.mark.asyncio
async def test_by_token() -> None:
    with NatsServer('authorization { token: "s3cret-token" }') as server:
        await works(Nats(server.url, token="s3cret-token"))
        await works(Nats(f"nats://s3cret-token@127.0.0.1:{server.port}"))
        with pytest.raises(ConnectionError, match="does not let us in") as refused:
            await connect(Nats(server.url, token="wr0ng-token"), "app")
        assert f"127.0.0.1:{server.port}" in str(refused.value)
        assert "wr0ng" not in str(refused.value)
        with pytest.raises(ConnectionError, match="does not let us in"):
            await connect(server.url, "app")


@pytest.mark.asyncio
async def test_by_user_and_password() -> None:
    with NatsServer('authorization { user: "bot", password: "p@ss/word" }') as server:
        await works(Nats(server.url, user="bot", password="p@ss/word"))
        await works(Nats(f"nats://bot:p%40ss%2Fword@127.0.0.1:{server.port}"))
        with pytest.raises(ConnectionError, match="does not let us in") as refused:
            await connect(f"nats://bot:s3cret@127.0.0.1:{server.port}", "app")
        assert "s3cret" not in str(refused.value)


@pytest.mark.asyncio
async def test_by_nkey(tmp_path: Path) -> None:
    with NatsServer(f"authorization {{ users: [ {{ nkey: {PUBLIC} }} ] }}") as server:
        await works(Nats(server.url, nkey=SEED))
        path = tmp_path / "bot.nk"
        path.write_text(f"# of the bot\n{SEED}\n")
        await works(Nats(server.url, nkey=path))
        path.write_text("nothing")
        with pytest.raises(ValueError, match="no seed"):
            await connect(Nats(server.url, nkey=path), "app")
        with pytest.raises(ValueError, match="nkey is a seed") as refused:
            await connect(Nats(server.url, nkey=SEED[:-1]), "app")
        assert SEED[:-1] not in str(refused.value)


@pytest.mark.asyncio
async def test_a_file_that_is_not_there_is_named(nats_server: NatsServer, tmp_path: Path) -> None:
    for option in ("creds", "ca_file"):
        with pytest.raises(FileNotFoundError, match="none-such"):
            await connect(Nats(nats_server.url, **{option: tmp_path / "none-such"}), "app")
    path = tmp_path / "bot.creds"
    path.write_text(f"nothing of use, but {SEED}")
    with pytest.raises(ValueError, match="no JWT") as refused:
        await connect(Nats(nats_server.url, creds=path), "app")
    assert SEED not in str(refused.value)


@pytest.mark.asyncio
@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificates with openssl")
async def test_over_tls(tmp_path: Path) -> None:
    def made(name: str, *extra: str) -> tuple[Path, Path]:
        certificate, key = tmp_path / f"{name}.pem", tmp_path / f"{name}.key"
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        command += ["-subj", f"/CN={name}", "-out", str(certificate), "-keyout", str(key), *extra]
        subprocess.run(command, check=True, capture_output=True)
        return certificate, key

    authority, authority_key = made("authority")
    signed = ["-CA", str(authority), "-CAkey", str(authority_key), "-addext", "basicConstraints=CA:FALSE"]
    certificate, key = made("server", *signed, "-addext", "subjectAltName=IP:127.0.0.1")
    ours, our_key = made("bot", *signed)
    files = f'cert_file: "{certificate}", key_file: "{key}", ca_file: "{authority}"'
    with NatsServer(f"tls {{ {files} }}") as server:
        await works(Nats(server.url, ca_file=authority))
        await works(Nats(f"tls://127.0.0.1:{server.port}", ca_file=authority))
        with pytest.raises(ConnectionError, match="certificate"):
            await connect(Nats(server.url, ca_file=ours), "app")
    with NatsServer(f"tls {{ {files}, verify: true }}") as server:
        await works(Nats(server.url, ca_file=authority, cert_file=ours, key_file=our_key))
        with pytest.raises(ConnectionError):
            await connect(Nats(server.url, ca_file=authority), "app")
    with NatsServer() as server, pytest.raises(ConnectionError):
        # Nothing goes in the clear where TLS is asked for.
        await connect(Nats(server.url, ca_file=authority), "app")


@pytest.mark.asyncio
async def test_nobody_there_is_said_with_where_we_looked() -> None:
    first, second = free_ports(2)
    begun = time.monotonic()
    with pytest.raises(ConnectionError) as refused:
        await connect(f"nats://bot:s3cret@127.0.0.1:{first},nats://bot:s3cret@127.0.0.1:{second}", "app")
    # The 5 s of its time-out for all of them: for one after the other they would be 10.
    assert time.monotonic() - begun < 9
    assert f"127.0.0.1:{first}, 127.0.0.1:{second}" in str(refused.value)
    assert "s3cret" not in str(refused.value)


@pytest.mark.asyncio
async def test_a_server_without_jetstream_is_refused() -> None:
    with NatsServer(jetstream=False) as server:
        with pytest.raises(ConnectionError, match="has no JetStream; start it with -js"):
            await connect(Nats(server.url, timeout=5), "app")
        broker = await connect(Nats(server.url, timeout=5), "app", prepare=False)
        await broker.close()


@pytest.mark.asyncio
async def test_an_account_that_may_not_do_what_is_needed_is_told_so() -> None:
    with (
        NatsServer("accounts { plain { users: [ { user: u, password: p } ] } }") as server,
        pytest.raises(ConnectionError, match=r"has no JetStream; write jetstream: enabled into it"),
    ):
        await connect(Nats(server.url, user="u", password="p", timeout=10), "app")
    denied = '{ publish: { deny: "$JS.API.>" } }'
    with NatsServer(f"authorization {{ users: [ {{ user: u, password: p, permissions: {denied} }} ] }}") as server:
        with pytest.raises(OSError, match=r"(?i)permissions violation.*JS\.API"):
            await connect(Nats(server.url, user="u", password="p", timeout=3), "app")
        broker = await connect(Nats(server.url, user="u", password="p", timeout=3), "app", prepare=False)
        with pytest.raises(TimeoutError, match=r"(?i)permissions violation.*JS\.API"):
            await broker.stream_status()
        await broker.close()


@pytest.mark.asyncio
async def test_a_server_that_is_too_old_is_refused() -> None:
    left = asyncio.Event()

    async def old(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        info = b'{"server_id":"a","version":"2.10.29","proto":1,"headers":true,"max_payload":1048576}'
        writer.write(b"INFO " + info + b"\r\n")
        while line := await reader.readline():
            if line.startswith(b"PING"):
                writer.write(b"PONG\r\n")
        writer.close()
        await writer.wait_closed()
        left.set()

    server = await asyncio.start_server(old, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(ConnectionError, match=r"is version 2\.10\.29; 2\.11 or newer is needed"):
        await connect(f"127.0.0.1:{port}", "app")
    # It does not stay connected to it.
    async with asyncio.timeout(10):
        await left.wait()
    server.close()
    await server.wait_closed()


# ---------------------------------------------------------------- options


def test_options_hide_what_is_secret() -> None:
    for nats in (
        Nats("nats://bot:s3cret@host:4333"),
        Nats("s3cret@host:4333"),
        Nats(["host:4333"], user="bot", password="s3cret"),
        Nats("host:4333", token="s3cret"),
        Nats("host:4333", nkey="s3cret"),
    ):
        assert "s3cret" not in repr(nats)
        assert nats.addresses == ("nats://host:4333",)
    assert Nats("nats://bot:s3c%40ret@host").password == "s3c@ret"
    assert Nats("s3cret@host").token == "s3cret"


def test_options_take_one_url_or_several() -> None:
    several = ("nats://a:4222", "tls://b:1", "nats://[::1]:4222")
    assert Nats("a, tls://b:1,nats://[::1]").addresses == several
    assert Nats(["a", "tls://b:1", "nats://[::1]"]).addresses == several
    assert nats_of(Nats("a")).addresses == nats_of("a").addresses == nats_of(["a"]).addresses
    assert Nats("a") == Nats("nats://a:4222") == Nats(("a",))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"servers": ""}, "a host and a port"),
        ({"servers": []}, "no server"),
        ({"servers": "http://s3cret@host"}, "http:// is not spoken"),
        ({"servers": "nats://host:99999"}, "port"),
        ({"servers": "nats://host/path"}, "a host and a port"),
        ({"servers": "nats://bot:s3cret\u2100@host"}, "%XX"),
        ({"servers": "nats://bot:s3cret[@host"}, "%XX"),
        ({"servers": "a:s3cret@x,b:s3cret@y"}, "different users"),
        ({"servers": "a:s3cret@x", "token": "s3cret"}, "leave one out"),
        ({"servers": "x", "user": "bot"}, "go together"),
        ({"servers": "x", "token": "s3cret", "creds": "f"}, "token and creds"),
        ({"servers": "x", "cert_file": "f"}, "go together"),
        ({"servers": "x", "timeout": 0}, "0.1 to 600"),
    ],
)
def test_options_that_cannot_work_are_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says) as refused:
        Nats(**options)
    assert "s3cret" not in str(refused.value)


def test_an_app_is_checked() -> None:
    for app in ("a", "my-Bot_1", "x" * 32):
        check_app(app)
    for app in ("", "x" * 33, "a.b", "a b", "a*", "ä", "a\n"):
        with pytest.raises(ValueError, match="1 to 32 letters"):
            check_app(app)
    check_app("my-deadline")
    with pytest.raises(ValueError, match="cannot end in -dead"):
        # Its events would be kept where the dead letters of "my" are.
        check_app("my-dead")
