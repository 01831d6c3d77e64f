"""Propylon: a Discord Gateway client for Python whose engine is Rust."""

from propylon._core import Dispatch
from propylon._debug import warn_of_debug_build
from propylon._version import __version__
from propylon.answers import Members, RateLimit, VoiceServer
from propylon.batches import Batches
from propylon.consuming import Stream
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
    NotConnected,
    PayloadTooLarge,
    PropylonError,
    RateLimited,
    RequestTimeout,
    ShardingRequired,
)
from propylon.filters import Field, Filter, field
from propylon.gateway import Gateway
from propylon.groups import Listeners, listen
from propylon.intents import Intents
from propylon.listeners import Listener
from propylon.metrics import Metrics
from propylon.needs import IntentsWarning
from propylon.options import Backoff, Timeouts
from propylon.presence import Activity, ActivityType, OnlineStatus, Presence
from propylon.requests import MembersRequest
from propylon.session import Closed, GatewayStatus, Session
from propylon.snowflake import Snowflake, snowflake_time
from propylon.stores import FileSessionStore, SessionStore

__all__ = [
    "Activity",
    "ActivityType",
    "AuthenticationFailed",
    "Backoff",
    "Batches",
    "CertificateError",
    "Closed",
    "CommandError",
    "CommandTooLarge",
    "DecompressionError",
    "DisallowedIntents",
    "Dispatch",
    "Field",
    "FileSessionStore",
    "Filter",
    "ForkedError",
    "Gateway",
    "GatewayClosed",
    "GatewayStatus",
    "HandshakeError",
    "IdentifyBudgetExhausted",
    "Intents",
    "IntentsWarning",
    "InvalidApiVersion",
    "InvalidIntents",
    "InvalidShard",
    "Listener",
    "Listeners",
    "Members",
    "MembersRequest",
    "Metrics",
    "ModelError",
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
    "ShardingRequired",
    "Snowflake",
    "Stream",
    "Timeouts",
    "VoiceServer",
    "__version__",
    "field",
    "listen",
    "snowflake_time",
]

warn_of_debug_build()
