"""Purchases of the application's offers."""

from propylon.events._event import Event
from propylon.events._intents import NO_INTENT
from propylon.models._entitlement import Entitlement
from propylon.models._subscription import Subscription

__all__ = [
    "EntitlementCreate",
    "EntitlementDelete",
    "EntitlementUpdate",
    "SubscriptionCreate",
    "SubscriptionDelete",
    "SubscriptionUpdate",
]


class EntitlementCreate(Entitlement, Event, event="ENTITLEMENT_CREATE", intents=NO_INTENT):
    """Somebody came by an entitlement.

    Always sent. https://discord.com/developers/docs/events/gateway-events#entitlement-create
    """


class EntitlementUpdate(Entitlement, Event, event="ENTITLEMENT_UPDATE", intents=NO_INTENT):
    """An entitlement changed, mostly because its subscription ends: `Entitlement.ends_at` then says when.

    Always sent. https://discord.com/developers/docs/events/gateway-events#entitlement-update
    """


class EntitlementDelete(Entitlement, Event, event="ENTITLEMENT_DELETE", intents=NO_INTENT):
    """An entitlement was taken away, as by a refund; one that ran out is not told here.

    Always sent. https://discord.com/developers/docs/events/gateway-events#entitlement-delete
    """


class SubscriptionCreate(Subscription, Event, event="SUBSCRIPTION_CREATE", intents=NO_INTENT):
    """A subscription was made; it need not be active yet.

    Always sent. https://discord.com/developers/docs/events/gateway-events#subscription-create
    """


class SubscriptionUpdate(Subscription, Event, event="SUBSCRIPTION_UPDATE", intents=NO_INTENT):
    """A subscription changed; it is all told anew.

    Always sent. https://discord.com/developers/docs/events/gateway-events#subscription-update
    """


class SubscriptionDelete(Subscription, Event, event="SUBSCRIPTION_DELETE", intents=NO_INTENT):
    """A subscription was deleted.

    Always sent. https://discord.com/developers/docs/events/gateway-events#subscription-delete
    """
