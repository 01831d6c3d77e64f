"""What a scripted connection does, step by step. Each function makes one step; times are seconds.

The server serves normally while a script runs; steps switch parts of that off. A script starts after the upgrade and
before HELLO, which is sent when the script first waits, serves or ends::

    sim.script(1, steps.wait_ready(), steps.wait_events(500), steps.reset())  # cut the first connection
    sim.script("next", steps.refuse_resume())                                 # and refuse the RESUME that follows
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

__all__ = [
    "ack_delay",
    "acknowledge",
    "api_response",
    "bomb",
    "certificate",
    "close",
    "close_raw",
    "continuation_flood",
    "corrupt",
    "dispatch",
    "drop",
    "expire_sessions",
    "flood",
    "half_close",
    "hello",
    "http_response",
    "huge_header",
    "invalid_session",
    "listen",
    "manual",
    "merge",
    "never_ready",
    "no_hello",
    "not_answer_resume",
    "own_frames",
    "ping_flood",
    "plaintext",
    "rate_limit_members",
    "ready",
    "reconnect",
    "refuse_resume",
    "request_heartbeats",
    "reset",
    "resume_acking",
    "resume_reading",
    "send_binary",
    "send_bytes",
    "send_frame",
    "send_json",
    "send_payload",
    "send_text",
    "serve",
    "silent_accept",
    "slice",
    "split",
    "stall",
    "stop_acking",
    "stop_listening",
    "stop_reading",
    "tls_alert",
    "trickle_handshake",
    "truncate_replay",
    "unstall",
    "wait",
    "wait_events",
    "wait_for_op",
    "wait_ready",
]

Step: TypeAlias = Mapping[str, Any]
"""One step, as the server takes it: a dict with ``step`` and its fields."""


def _bytes(data: bytes | str) -> dict[str, str]:
    return {"text": data} if isinstance(data, str) else {"hex": data.hex()}


# -- before HTTP: only at the start of a script --


def silent_accept() -> Step:
    """Accept TCP, then say nothing for ever."""
    return {"step": "silent_accept"}


def certificate(kind: Literal["valid", "wrong_host", "expired", "not_yet_valid", "self_signed", "unknown_ca"]) -> Step:
    """Show this certificate instead of the configured one (TLS only)."""
    return {"step": "certificate", "kind": kind}


def plaintext() -> Step:
    """Answer in plain HTTP although the port is TLS."""
    return {"step": "plaintext"}


def tls_alert(code: int) -> Step:
    """Answer the TLS hello with a fatal alert, such as 70 ``protocol_version``."""
    return {"step": "tls_alert", "code": code}


# -- instead of, or during, the 101 --


def http_response(status: int, *, headers: Mapping[str, str] | None = None, body: str = "") -> Step:
    """Answer the upgrade with this, then close."""
    return {"step": "http_response", "status": status, "headers": dict(headers or {}), "body": body}


def trickle_handshake(interval: float, *, size: int = 1) -> Step:
    """Send the 101 in pieces of ``size`` bytes, ``interval`` apart."""
    return {"step": "trickle_handshake", "ms": round(interval * 1000), "bytes": size}


def huge_header(size: int) -> Step:
    """Put a header of ``size`` bytes into the 101."""
    return {"step": "huge_header", "bytes": size}


# -- waiting --


def wait_for_op(op: int) -> Step:
    """Wait until an op was received, and answered if it is answered at all; each received one satisfies one step."""
    return {"step": "wait_for_op", "op": op}


def wait_ready() -> Step:
    """Wait until READY (with its guilds) or RESUMED was queued."""
    return {"step": "wait_ready"}


def wait_events(count: int) -> Step:
    """Wait until ``count`` dispatches were queued on this connection, READY included."""
    return {"step": "wait_events", "count": count}


def wait(seconds: float) -> Step:
    """Wait."""
    return {"step": "wait", "ms": round(seconds * 1000)}


# -- sending --


def hello(payload: Mapping[str, Any] | None = None) -> Step:
    """Say HELLO now: the normal one, or this whole payload."""
    return {"step": "hello", "payload": payload}


def no_hello() -> Step:
    """Never say HELLO."""
    return {"step": "no_hello"}


def send_json(payload: Any) -> Step:
    """Send any payload, through the connection's compression."""
    return {"step": "send_json", "payload": payload}


def send_payload(data: bytes | str) -> Step:
    """Send any bytes as a payload, JSON or not, through the connection's compression."""
    return {"step": "send_payload", **_bytes(data)}


def send_text(text: str) -> Step:
    """Send a text message, uncompressed."""
    return {"step": "send_text", "text": text}


def send_binary(data: bytes) -> Step:
    """Send a binary message, as it is."""
    return {"step": "send_binary", "hex": data.hex()}


def send_frame(
    opcode: int,
    data: bytes | str = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    masked: bool = False,
    length: int | None = None,
) -> Step:
    """Send one WebSocket frame, legal or not; ``length`` announces another length than that of ``data``."""
    frame = {"step": "send_frame", "opcode": opcode, "fin": fin, "rsv": rsv, "masked": masked, "length": length}
    return {**frame, **_bytes(data)}


def send_bytes(data: bytes | str) -> Step:
    """Send bytes below WebSocket (inside TLS)."""
    return {"step": "send_bytes", **_bytes(data)}


def dispatch(event: str, data: Any) -> Step:
    """Send an event of the connection's session, numbered and kept for replay."""
    return {"step": "dispatch", "event": event, "data": data}


def reconnect() -> Step:
    """Send op 7."""
    return {"step": "reconnect"}


def invalid_session(resumable: Any = False) -> Step:
    """Send op 9 with this ``d``."""
    return {"step": "invalid_session", "resumable": resumable}


def request_heartbeats(count: int = 1) -> Step:
    """Send op 1, ``count`` times in one write."""
    return {"step": "request_heartbeats", "count": count}


def acknowledge(count: int = 1) -> Step:
    """Send op 11 without a beat, ``count`` times."""
    return {"step": "acknowledge", "count": count}


def bomb(mebibytes: int) -> Step:
    """Send a payload that inflates to this many MiB, through the connection's compression."""
    return {"step": "bomb", "mebibytes": mebibytes}


def ping_flood(count: int, *, size: int = 0) -> Step:
    """Send ``count`` pings with ``size`` bytes each (at most 125)."""
    return {"step": "ping_flood", "count": count, "bytes": size}


def continuation_flood(count: int, *, finish: bool = False) -> Step:
    """Send a message of ``count`` empty continuation frames."""
    return {"step": "continuation_flood", "count": count, "finish": finish}


# -- ending --


def close(code: int | None = None, reason: str = "") -> Step:
    """Send a close frame (empty without a code), await the client's for a second, then FIN."""
    return {"step": "close", "code": code, "reason": reason}


def close_raw(data: bytes) -> Step:
    """Send a close frame with this payload, legal or not, then FIN."""
    return {"step": "close_raw", "hex": data.hex()}


def reset() -> Step:
    """Send RST."""
    return {"step": "reset"}


def drop() -> Step:
    """Send FIN without a close frame."""
    return {"step": "drop"}


def half_close() -> Step:
    """Send FIN, but go on reading."""
    return {"step": "half_close"}


# -- switches --


def stall() -> Step:
    """Stop writing."""
    return {"step": "stall"}


def unstall() -> Step:
    """Write again."""
    return {"step": "unstall"}


def stop_reading() -> Step:
    """Stop reading."""
    return {"step": "stop_reading"}


def resume_reading() -> Step:
    """Read again."""
    return {"step": "resume_reading"}


def stop_acking() -> Step:
    """Leave beats without ACK."""
    return {"step": "stop_acking"}


def resume_acking() -> Step:
    """ACK again."""
    return {"step": "resume_acking"}


def ack_delay(seconds: float) -> Step:
    """ACK late; 0 for at once."""
    return {"step": "ack_delay", "ms": round(seconds * 1000)}


def slice(size: int) -> Step:
    """Write at most ``size`` bytes at once, with ``TCP_NODELAY``; 0 ends it."""
    return {"step": "slice", "bytes": size}


def corrupt(at: int = 0) -> Step:
    """Spoil byte ``at`` of the next message's (compressed) payload, the last one if it is shorter."""
    return {"step": "corrupt", "at": at}


def ready(*, set: Mapping[str, Any] | None = None, remove: Sequence[str] = ()) -> Step:
    """Change fields of READY's ``d``, or leave them out."""
    return {"step": "ready", "set": dict(set or {}), "remove": list(remove)}


def never_ready() -> Step:
    """Take IDENTIFY, say nothing."""
    return {"step": "never_ready"}


def refuse_resume(*, code: int | None = None, resumable: bool = False) -> Step:
    """Answer RESUME with op 9, or with a close code."""
    return {"step": "refuse_resume", "code": code, "resumable": resumable}


def not_answer_resume() -> Step:
    """Take RESUME, say nothing."""
    return {"step": "not_answer_resume"}


def truncate_replay(count: int) -> Step:
    """Replay only ``count`` dispatches, without RESUMED."""
    return {"step": "truncate_replay", "count": count}


def own_frames(on: bool = True) -> Step:
    """End the zstd frame (or zlib stream) with every message and begin anew."""
    return {"step": "own_frames", "on": on}


def merge(payloads: int) -> Step:
    """Put up to this many dispatches that are ready together into one message; 0 ends it."""
    return {"step": "merge", "payloads": payloads}


def split(size: int) -> Step:
    """Send each payload over messages of at most ``size`` bytes; 0 ends it."""
    return {"step": "split", "bytes": size}


def rate_limit_members(on: bool = True) -> Step:
    """Answer every all-members request with RATE_LIMITED."""
    return {"step": "rate_limit_members", "on": on}


def flood(on: bool = True, *, rate: float | None = None) -> Step:
    """Start or stop the session's events; ``rate`` per second, 0 for flat out, None to leave it."""
    return {"step": "flood", "on": on, "rate": rate}


def manual() -> Step:
    """Answer nothing at all, say no HELLO; only record."""
    return {"step": "manual"}


def serve() -> Step:
    """Serve normally: every switch back."""
    return {"step": "serve"}


# -- the whole server --


def stop_listening() -> Step:
    """Close the listening ports; connections live on."""
    return {"step": "stop_listening"}


def listen() -> Step:
    """Open them again."""
    return {"step": "listen"}


def expire_sessions() -> Step:
    """Forget every session, or those of the shards that ``act`` is told: a RESUME gets op 9."""
    return {"step": "expire_sessions"}


def api_response(status: int, *, headers: Mapping[str, str] | None = None, body: str = "", times: int = 1) -> Step:
    """Answer the next ``times`` API requests with this."""
    answer = {"status": status, "headers": dict(headers or {}), "body": body, "times": times}
    return {"step": "api_response", **answer}
