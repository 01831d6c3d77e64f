"""Propylon: a Discord Gateway client for Python whose engine is Rust."""

from propylon import _core as _core  # First: it says so where it cannot be used, before others are imported.
from propylon._base import or_none
from propylon._commands.answers import Members, RateLimit, VoiceServer
from propylon._commands.members import MembersRequest
from propylon._core import Dispatch
from propylon._debug import warn_of_debug_build
from propylon._filters.expression import Field, Filter, field
from propylon._fleet.manager import ShardManager
from propylon._fleet.shards import ManagedShard
from propylon._gateway.gateway import Gateway
from propylon._gateway.metrics import Metrics
from propylon._gateway.options import Backoff, Timeouts
from propylon._listening.batches import Batch, Batches
from propylon._listening.groups import Listeners, listen
from propylon._listening.intents_check import IntentsWarning
from propylon._listening.listener import Listener
from propylon._listening.waiting import Stream
from propylon._names import UnknownNameWarning
from propylon._sessions.gates import FileIdentifyGate, IdentifyGate, IdentifyPermit
from propylon._sessions.session import Closed, GatewayStatus, Session
from propylon._sessions.stores import FencedSessionStore, FileSessionStore, FleetSessionStore, SessionStore
from propylon._version import __version__
from propylon.errors import (
    AuthenticationFailed,
    CertificateError,
    CommandError,
    CommandTooLarge,
    DecompressionError,
    DisallowedIntents,
    ForkedError,
    GatewayClosed,
    HandshakeError,
    IdentifyBudgetExhausted,
    InvalidApiVersion,
    InvalidIntents,
    InvalidShard,
    ModelError,
    NoOwner,
    NotConnected,
    PayloadTooLarge,
    PropylonError,
    RateLimited,
    RequestTimeout,
    SessionTakenOver,
    ShardingRequired,
    WrongShard,
)
from propylon.intents import Intents
from propylon.presence import Activity, ActivityType, OnlineStatus, Presence
from propylon.snowflake import Snowflake, snowflake_time

__all__ = [
    "Activity",
    "ActivityType",
    "AuthenticationFailed",
    "Backoff",
    "Batch",
    "Batches",
    "CertificateError",
    "Closed",
    "CommandError",
    "CommandTooLarge",
    "DecompressionError",
    "DisallowedIntents",
    "Dispatch",
    "FencedSessionStore",
    "Field",
    "FileIdentifyGate",
    "FileSessionStore",
    "Filter",
    "FleetSessionStore",
    "ForkedError",
    "Gateway",
    "GatewayClosed",
    "GatewayStatus",
    "HandshakeError",
    "IdentifyBudgetExhausted",
    "IdentifyGate",
    "IdentifyPermit",
    "Intents",
    "IntentsWarning",
    "InvalidApiVersion",
    "InvalidIntents",
    "InvalidShard",
    "Listener",
    "Listeners",
    "ManagedShard",
    "Members",
    "MembersRequest",
    "Metrics",
    "ModelError",
    "NoOwner",
    "NotConnected",
    "OnlineStatus",
    "PayloadTooLarge",
    "Presence",
    "PropylonError",
    "RateLimit",
    "RateLimited",
    "RequestTimeout",
    "Session",
    "SessionStore",
    "SessionTakenOver",
    "ShardManager",
    "ShardingRequired",
    "Snowflake",
    "Stream",
    "Timeouts",
    "UnknownNameWarning",
    "VoiceServer",
    "WrongShard",
    "__version__",
    "field",
    "listen",
    "or_none",
    "snowflake_time",
]

warn_of_debug_build()
