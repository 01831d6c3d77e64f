"""Reactions below a message."""

from propylon._base import Model, OpenIntEnum
from propylon.models._emoji import Emoji

__all__ = ["Reaction", "ReactionCountDetails", "ReactionType"]


class ReactionType(OpenIntEnum):
    """Whether a reaction is a super reaction.

    See https://discord.com/developers/docs/resources/message#get-reactions-reaction-types.
    """

    NORMAL = 0
    BURST = 1


class ReactionCountDetails(Model):
    """How many reacted in which way.

    See https://discord.com/developers/docs/resources/message#reaction-count-details-object.
    """

    burst: int = 0
    normal: int = 0


class Reaction(Model):
    """All reactions of one emoji to a message.

    See https://discord.com/developers/docs/resources/message#reaction-object.
    """

    count: int = 0
    count_details: ReactionCountDetails = ReactionCountDetails()
    me: bool = False
    """Whether the bot is among them."""
    me_burst: bool = False
    emoji: Emoji
    burst_colors: tuple[str, ...] = ()
    """``#RRGGBB``."""
