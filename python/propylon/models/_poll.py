"""Polls."""

from datetime import datetime

from propylon._base import UNSET, Model, OpenIntEnum, UnsetType
from propylon.models._emoji import Emoji

__all__ = ["Poll", "PollAnswer", "PollAnswerCount", "PollLayoutType", "PollMedia", "PollResults"]


class PollLayoutType(OpenIntEnum):
    """How a poll looks: https://discord.com/developers/docs/resources/poll#layout-type."""

    DEFAULT = 1


class PollMedia(Model):
    """A question or an answer: https://discord.com/developers/docs/resources/poll#poll-media-object."""

    text: str | UnsetType = UNSET
    emoji: Emoji | UnsetType = UNSET
    """Answers only; `Emoji.id` or `Emoji.name` is set."""


class PollAnswer(Model):
    """An answer to choose: https://discord.com/developers/docs/resources/poll#poll-answer-object."""

    answer_id: int
    """Number within the poll, from 1; no snowflake."""
    poll_media: PollMedia


class PollAnswerCount(Model):
    """Votes for an answer.

    See https://discord.com/developers/docs/resources/poll#poll-results-object-poll-answer-count-object-structure.
    """

    id: int
    """The `PollAnswer.answer_id`."""
    count: int = 0
    me_voted: bool = False


class PollResults(Model):
    """Votes so far: https://discord.com/developers/docs/resources/poll#poll-results-object.

    An answer that is not listed has no vote.
    """

    is_finalized: bool = False
    """Whether the votes have been counted exactly; before, the numbers may be off."""
    answer_counts: tuple[PollAnswerCount, ...] = ()


class Poll(Model):
    """A poll: https://discord.com/developers/docs/resources/poll#poll-object."""

    question: PollMedia
    answers: tuple[PollAnswer, ...] = ()
    expiry: datetime | None = None
    """When it ends or ended."""
    allow_multiselect: bool = False
    layout_type: PollLayoutType = PollLayoutType.DEFAULT
    results: PollResults | UnsetType = UNSET
    """Left out: unknown, which is not the same as no votes."""
