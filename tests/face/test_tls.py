"""Certificates: only the right one is taken, and the error names what is wrong (F39)."""

from collections.abc import Callable
from typing import Any

import pytest

from propylon import CertificateError, Gateway, GatewayStatus, HandshakeError
from propylon.testing import Simulator, steps

pytestmark = pytest.mark.asyncio(loop_factories=["asyncio"])

Start = Callable[..., Simulator]

REASONS = {
    "wrong_host": "name|host",
    "expired": "expired",
    "not_yet_valid": "not yet valid|not valid yet",
    "self_signed": "self.signed|issuer|signature|authority|CA",
    "unknown_ca": "unknown|issuer|signature",
}


@pytest.mark.parametrize("kind", REASONS)
async def test_a_bad_certificate_is_refused_and_named(propylon_simulator: Start, gateway_to: Any, kind: Any) -> None:
    sim = propylon_simulator(tls=True, certificate=kind)
    gateway: Gateway = gateway_to(sim)
    with pytest.raises(CertificateError, match=f"(?i){REASONS[kind]}"):
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


@pytest.mark.parametrize("step", [steps.plaintext(), steps.tls_alert(70)], ids=["plaintext", "alert"])
async def test_no_tls_at_all(propylon_simulator: Start, gateway_to: Any, step: Any) -> None:
    sim = propylon_simulator(tls=True, scripts={"every": [step]})
    with pytest.raises(HandshakeError):
        await gateway_to(sim, auto_reconnect=False).open(timeout=10)


async def test_an_authority_file_that_is_none_is_refused_at_once(
    propylon_simulator: Start, gateway_to: Any, tmp_path: Any
) -> None:
    sim = propylon_simulator(tls=True)
    empty = tmp_path / "ca.pem"
    empty.write_text("no certificate")
    for path in (empty, tmp_path / "missing.pem"):
        with pytest.raises(ValueError, match=r"ca_file|pem"):
            await gateway_to(sim, ca_file=path).open(timeout=10)
