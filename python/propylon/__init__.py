"""Propylon: a Discord Gateway client for Python whose engine is Rust."""

from propylon._core import Dispatch
from propylon._debug import warn_of_debug_build
from propylon._version import __version__
from propylon.answers import Members, RateLimit, VoiceServer
from propylon.batches import Batches
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
from propylon.gateway import Gateway
from propylon.intents import Intents
from propylon.listeners import Listener
from propylon.metrics import Metrics
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
    "FileSessionStore",
    "ForkedError",
    "Gateway",
    "GatewayClosed",
    "GatewayStatus",
    "HandshakeError",
    "IdentifyBudgetExhausted",
    "Intents",
    "InvalidApiVersion",
    "InvalidIntents",
    "InvalidShard",
    "Listener",
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
    "Timeouts",
    "VoiceServer",
    "__version__",
    "snowflake_time",
]

warn_of_debug_build()
