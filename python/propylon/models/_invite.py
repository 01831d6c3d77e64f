"""Invitations to a guild's channels."""

from propylon._base import OpenIntEnum

__all__ = ["InviteTargetType"]


class InviteTargetType(OpenIntEnum):
    """What an invite to a voice channel leads to.

    See https://discord.com/developers/docs/resources/invite#invite-object-invite-target-types.
    """

    STREAM = 1
    EMBEDDED_APPLICATION = 2
