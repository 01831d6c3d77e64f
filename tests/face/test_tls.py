"""Certificates: only the right one is taken, and the error names what is wrong (F39)."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from propylon import CertificateError, Gateway, GatewayStatus, HandshakeError, Timeouts
from propylon.testing import Simulator, steps

pytestmark = pytest.mark.asyncio(loop_factories=["asyncio"])

Start = Callable[..., Simulator]

REASONS = {
    "wrong_host": "not valid for name.*it belongs to another host; check the URL",
    "expired": "expired.*the clock of this machine",
    "not_yet_valid": "not valid yet.*the clock of this machine",
    "self_signed": "UnknownIssuer.*nobody who is trusted has issued it.*ca_file=.*native_roots=True",
    "unknown_ca": "UnknownIssuer.*nobody who is trusted has issued it.*ca_file=.*native_roots=True",
}


@pytest.mark.parametrize("kind", REASONS)
async def test_a_bad_certificate_is_refused_and_named(propylon_simulator: Start, gateway_to: Any, kind: Any) -> None:
    sim = propylon_simulator(tls=True, certificate=kind)
    gateway: Gateway = gateway_to(sim)
    with pytest.raises(CertificateError, match=f"(?i)the certificate of localhost failed .*{REASONS[kind]}"):
        await gateway.open(timeout=10)
    assert gateway.status is GatewayStatus.DISCONNECTED
    # Nothing was said to it: no upgrade, no token.
    assert all(connection["upgraded_ms"] is None for connection in sim.record()["connections"])


async def test_a_good_one_needs_its_authority(propylon_simulator: Start, gateway_to: Any) -> None:
    sim = propylon_simulator(tls=True)
    assert sim.url.startswith("wss://")
    await gateway_to(sim).open(timeout=10)
    with pytest.raises(CertificateError, match=r"(?i)issuer|unknown"):
        await gateway_to(sim, ca_file=None).open(timeout=10)


async def test_a_bad_one_later_costs_no_session(propylon_simulator: Start, gateway_to: Any) -> None:
    """It may be a rotation in progress."""
    sim = propylon_simulator(tls=True)
    gateway: Gateway = gateway_to(sim)
    await gateway.open(timeout=10)
    sim.script("next", steps.certificate("expired"))
    sim.act(steps.reset())
    await sim.wait_for("resumed")
    assert gateway.metrics().identifies == 1


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (steps.plaintext(), "what answers does not speak TLS on this port; check the URL"),
        (steps.tls_alert(70), "ProtocolVersion.*the server must speak TLS 1.2 or 1.3"),
        (steps.tls_alert(40), "HandshakeFailure"),
        (steps.silent_accept(), "no connection within 2.5 s: the TLS handshake is not finished"),
    ],
    ids=["plaintext", "only TLS 1.1", "no common cipher", "silence"],
)
async def test_no_tls_at_all(propylon_simulator: Start, gateway_to: Any, step: Any, words: str) -> None:
    sim = propylon_simulator(tls=True, scripts={"every": [step]})
    gateway: Gateway = gateway_to(sim, auto_reconnect=False, timeouts=Timeouts(connect=2.5))
    with pytest.raises(HandshakeError, match=words) as raised:
        await gateway.open(timeout=10)
    assert not isinstance(raised.value, CertificateError)


async def test_a_server_that_forgot_its_tls_for_a_moment_is_tried_again(
    propylon_simulator: Start, gateway_to: Any
) -> None:
    sim = propylon_simulator(tls=True, scripts={1: [steps.plaintext()], 2: [steps.tls_alert(80)]})
    await gateway_to(sim).open(timeout=10)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "No such file"),
        (b"", "no PEM certificate in it"),
        (b"no certificate", "no PEM certificate in it"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "no PEM certificate in it"),
        (b"\x30\x82\x01\x0a\xff\xfe", "no PEM certificate in it"),
        (b"-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n", "base64"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "BadEncoding"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n", "end"),
    ],
    ids=["missing", "empty", "text", "a key", "DER", "no base64", "no certificate", "cut off"],
)
async def test_an_authority_file_that_is_none_is_refused_at_once(
    propylon_simulator: Start, gateway_to: Any, tmp_path: Any, content: bytes | None, words: str
) -> None:
    sim = propylon_simulator(tls=True)
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"^ca_file .*ca\.pem: .*{words}"):
        await gateway_to(sim, ca_file=path).open(timeout=10)
    assert not sim.record()["connections"]


async def test_the_systems_roots_do_not_know_a_private_authority(
    propylon_simulator: Start, gateway_to: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sim = propylon_simulator(tls=True)
    # As an administrator would add it, or take all away.
    monkeypatch.setenv("SSL_CERT_FILE", sim.ca_file or "")
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    await gateway_to(sim, ca_file=None, native_roots=True).open(timeout=10)
    with pytest.raises(CertificateError, match="UnknownIssuer"):
        await gateway_to(sim, ca_file=None).open(timeout=10)
    empty = tmp_path / "none.pem"
    empty.touch()
    monkeypatch.setenv("SSL_CERT_FILE", str(empty))
    with pytest.raises(ValueError, match="native_roots=True, but the operating system gave no root certificate"):
        await gateway_to(sim, native_roots=True).open(timeout=10)


async def test_the_certificate_of_a_simulator_that_nobody_closes_leaves_with_the_process(tmp_path: Path) -> None:
    script = "from propylon.testing import Simulator\nsimulator = Simulator(tls=True).start()\nprint(simulator.ca_file)"
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONWARNINGS": "ignore"}
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env=environment,
    )
    assert Path(done.stdout.strip()).parent == tmp_path
    assert list(tmp_path.iterdir()) == []
