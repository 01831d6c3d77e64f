"""A snapshot of a gateway's counters."""

from dataclasses import dataclass

__all__ = ["Metrics"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """Counters since the gateway was made, taken together.

    ``received == delivered + unheard + filtered + overflowed + overlapped + queued`` holds in every snapshot.
    """

    received: int
    """Dispatches (op 0) accepted."""
    delivered: int
    """Handed to the event loop."""
    unheard: int
    """Dropped in Rust, because nobody listens to that event."""
    filtered: int
    """Dropped in Rust, because a filter said no."""
    overflowed: int
    """Dropped because the queue was full (``overflow="drop_oldest"``)."""
    overlapped: int
    """Dropped in Rust while a fleet was resharded, because the other of the two brings it (`ShardManager.reshard`)."""
    queued: int
    """Waiting for the event loop."""
    received_by_type: dict[str, int]
    """By event name; names that no table of ours has are counted as ``UNKNOWN``. Likewise below."""
    delivered_by_type: dict[str, int]
    unheard_by_type: dict[str, int]
    filtered_by_type: dict[str, int]
    overflowed_by_type: dict[str, int]
    overlapped_by_type: dict[str, int]
    queued_by_type: dict[str, int]
    wire_bytes: int
    """Bytes of WebSocket messages received, compressed as they came."""
    inflated_bytes: int
    """Bytes of JSON that they held."""
    wakeups: int
    """How often the event loop was woken."""
    queue_bytes: int
    """Bytes of the events that wait, with a fixed overhead each."""
    pending: int
    """Listener calls that have not finished."""
    pauses: int
    """How often a full queue stopped the reading of the socket."""
    paused_seconds: float
    heartbeats: int
    """Heartbeats sent."""
    reconnects: int
    """Connections made after the first."""
    resumes: int
    """RESUMED received."""
    identifies: int
    """IDENTIFYs sent."""
    commands_sent: int
    duplicates: int
    """Dispatches whose sequence number was not above the last one; delivered all the same."""
    ignored: int
    """Payloads with an opcode that is unknown, or that made no sense at that time."""
    malformed: int
    """Messages that could not be inflated or were no JSON; each cost its connection."""
    mended: int
    """Events of which something did not fit and was left out (``Dispatch.mended``)."""
    undecodable: int
    """Events that did not fit their class, and that could not be mended."""
    listener_errors: int
    """Exceptions that listeners raised."""
    last_frame_at: float | None
    """Unix time in seconds at which anything came on the connection last; None: nothing has come. Likewise below."""
    last_event_at: float | None
    """When a dispatch was accepted last, heard or not."""
    last_ack_at: float | None
    """When a heartbeat was acknowledged last."""
    blocked_seconds: float
    """Seconds since the event loop took its last turn; 0.0 where that is less than 2 s ago, and while it is closed."""
    running: str | None
    """What holds the event loop, a listener mostly; None while it takes turns, and where nobody knows."""
