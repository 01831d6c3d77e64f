"""What an opening waits for, in words: for the `TimeoutError` of `Gateway.open`."""

from typing import Final

from propylon._sessions.session import GatewayStatus

__all__ = ["what_it_waits_for"]

_STEPS: Final = {
    GatewayStatus.WAITING_FOR_HELLO: "no HELLO came on the connection",
    GatewayStatus.IDENTIFYING: "it waits at the identify gate, which lets one IDENTIFY of a token pass every 5 s",
    GatewayStatus.WAITING_FOR_READY: "IDENTIFY was sent, and no READY came",
    GatewayStatus.RESUMING: "RESUME was sent, and no RESUMED came",
}


def what_it_waits_for(status: GatewayStatus, *, asks: bool, asks_store: bool, last_failure: str) -> str:
    """To be put behind a sentence. ``asks``: whether `/gateway/bot` says where to connect; ``asks_store``: whether the
    session store is being asked whose the session is, for which HELLO waits to be answered.
    """
    step = "the session store did not say whose the session is" if asks_store else _STEPS.get(status, "")
    if status is GatewayStatus.CONNECTING:
        if asks:
            step = "it was asking /gateway/bot where to connect, or connecting there"
        else:
            step = "it was connecting: TCP, TLS and the HTTP upgrade"
    failure = last_failure and f"the last attempt failed: {last_failure}"
    return "".join(f"; {why}" for why in (failure, step) if why)
