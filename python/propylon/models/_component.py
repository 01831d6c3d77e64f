"""Components: the buttons, menus, texts and layouts of messages and modals.

One wide class stands for all of them, because Discord adds types often and one unknown type must not cost a message.
What a submitted modal answers is in `propylon.models._interaction`.
"""

from collections.abc import Iterator
from enum import IntFlag

from propylon._base import UNSET, Model, OpenIntEnum, Unchecked, UnsetType
from propylon.models._channel import ChannelType
from propylon.models._emoji import Emoji
from propylon.snowflake import Snowflake

__all__ = [
    "ButtonStyle",
    "Component",
    "ComponentType",
    "MediaGalleryItem",
    "SelectDefaultValue",
    "SelectOption",
    "SeparatorSpacing",
    "TextInputStyle",
    "UnfurledMediaItem",
    "UnfurledMediaItemFlags",
]


class ComponentType(OpenIntEnum):
    """What a component is.

    See https://discord.com/developers/docs/components/reference#component-object-component-types.
    """

    ACTION_ROW = 1
    BUTTON = 2
    STRING_SELECT = 3
    TEXT_INPUT = 4
    USER_SELECT = 5
    ROLE_SELECT = 6
    MENTIONABLE_SELECT = 7
    CHANNEL_SELECT = 8
    SECTION = 9
    TEXT_DISPLAY = 10
    THUMBNAIL = 11
    MEDIA_GALLERY = 12
    FILE = 13
    SEPARATOR = 14
    CONTAINER = 17
    LABEL = 18
    FILE_UPLOAD = 19
    RADIO_GROUP = 21
    CHECKBOX_GROUP = 22
    CHECKBOX = 23


class ButtonStyle(OpenIntEnum):
    """Colour and purpose of a button.

    See https://discord.com/developers/docs/components/reference#button-button-styles.
    """

    PRIMARY = 1
    SECONDARY = 2
    SUCCESS = 3
    DANGER = 4
    LINK = 5
    PREMIUM = 6


class TextInputStyle(OpenIntEnum):
    """One line or several: https://discord.com/developers/docs/components/reference#text-input-text-input-styles."""

    SHORT = 1
    PARAGRAPH = 2


class UnfurledMediaItemFlags(IntFlag):
    """Traits of a medium: https://discord.com/developers/docs/components/reference#unfurled-media-item."""

    IS_ANIMATED = 1 << 0


class SeparatorSpacing(OpenIntEnum):
    """Height of a separator: https://discord.com/developers/docs/components/reference#separator."""

    SMALL = 1
    LARGE = 2


class UnfurledMediaItem(Model):
    """An image, video or file by URL.

    See https://discord.com/developers/docs/components/reference#unfurled-media-item.
    """

    url: str = ""
    proxy_url: str | UnsetType = UNSET
    height: int | UnsetType | None = UNSET
    """Pixels."""
    width: int | UnsetType | None = UNSET
    """Pixels."""
    placeholder: str | UnsetType = UNSET
    """ThumbHash, base64."""
    placeholder_version: int | UnsetType = UNSET
    content_type: str | UnsetType = UNSET
    flags: int | UnsetType = UNSET
    """Bits of `UnfurledMediaItemFlags`; typed in `media_flags`."""
    attachment_id: Snowflake | UnsetType = UNSET
    """Of the attachment of the message that it shows."""

    @property
    def media_flags(self) -> UnfurledMediaItemFlags:
        """`flags`, typed; none set if they were left out."""
        return UnfurledMediaItemFlags(self.flags or 0)


class MediaGalleryItem(Model):
    """A picture of a gallery: https://discord.com/developers/docs/components/reference#media-gallery."""

    media: UnfurledMediaItem
    description: str | UnsetType | None = UNSET
    """Alternative text."""
    spoiler: bool | UnsetType = UNSET


class SelectOption(Model):
    """A choice of a string select, radio group or checkbox group.

    See https://discord.com/developers/docs/components/reference#string-select-select-option-structure.
    """

    label: str = ""
    value: str = ""
    description: str | UnsetType = UNSET
    emoji: Emoji | UnsetType = UNSET
    default: bool | UnsetType = UNSET
    """Whether it is chosen at first."""


class SelectDefaultValue(Model):
    """What a user, role, mentionable or channel select holds at first.

    See https://discord.com/developers/docs/components/reference#user-select-select-default-value-structure.
    """

    id: Snowflake
    type: str
    """``user``, ``role`` or ``channel``."""


_SELECTS = frozenset(
    {
        ComponentType.STRING_SELECT,
        ComponentType.USER_SELECT,
        ComponentType.ROLE_SELECT,
        ComponentType.MENTIONABLE_SELECT,
        ComponentType.CHANNEL_SELECT,
    }
)


class Component(Model):
    """A component of any type: https://discord.com/developers/docs/components/reference.

    `type` decides which of the other fields there are; `children` and `walk` lead to the components inside.
    """

    type: ComponentType
    id: int | UnsetType = UNSET
    """Number within the message, from 1; no snowflake."""
    # Interactive ones.
    custom_id: str | UnsetType = UNSET
    """What the developer named it, up to 100 characters; comes back in the interaction."""
    disabled: bool | UnsetType = UNSET
    required: bool | UnsetType = UNSET
    """Whether a modal cannot be sent without it."""
    # Buttons and text inputs.
    style: int | UnsetType = UNSET
    """A `ButtonStyle` or `TextInputStyle`; typed in `button_style` and `text_input_style`."""
    label: str | UnsetType = UNSET
    emoji: Emoji | UnsetType = UNSET
    sku_id: Snowflake | UnsetType = UNSET
    url: str | UnsetType = UNSET
    """Where a link button leads."""
    min_length: int | UnsetType = UNSET
    max_length: int | UnsetType = UNSET
    value: Unchecked[str] | UnsetType = UNSET
    # Selects and groups.
    options: tuple[SelectOption, ...] | UnsetType = UNSET
    placeholder: str | UnsetType = UNSET
    min_values: int | UnsetType = UNSET
    max_values: int | UnsetType = UNSET
    default_values: tuple[SelectDefaultValue, ...] | UnsetType = UNSET
    channel_types: tuple[ChannelType, ...] | UnsetType = UNSET
    default: bool | UnsetType = UNSET
    """Whether a checkbox is ticked at first."""
    file_types: tuple[str, ...] | UnsetType = UNSET
    """What a file upload takes."""
    # Content.
    content: str | UnsetType = UNSET
    """Markdown of a text display."""
    description: str | UnsetType | None = UNSET
    """Of a label; the alternative text of a thumbnail."""
    media: UnfurledMediaItem | UnsetType = UNSET
    items: tuple[MediaGalleryItem, ...] | UnsetType = UNSET
    file: UnfurledMediaItem | UnsetType = UNSET
    name: str | UnsetType = UNSET
    """Of a file."""
    size: int | UnsetType = UNSET
    """Bytes of a file."""
    spoiler: bool | UnsetType = UNSET
    # Layout.
    components: "tuple[Component, ...] | UnsetType" = UNSET
    """Inside an action row, section or container."""
    component: "Component | UnsetType" = UNSET
    """Inside a label."""
    accessory: "Component | UnsetType" = UNSET
    """Beside the texts of a section: a thumbnail or button."""
    accent_color: int | UnsetType | None = UNSET
    """0xRRGGBB, the edge of a container."""
    divider: bool | UnsetType = UNSET
    """Whether a separator draws a line."""
    spacing: SeparatorSpacing | UnsetType = UNSET

    @property
    def is_button(self) -> bool:
        """Whether this is a button."""
        return self.type == ComponentType.BUTTON

    @property
    def is_select(self) -> bool:
        """Whether this is a select menu of any kind."""
        return self.type in _SELECTS

    @property
    def button_style(self) -> ButtonStyle | None:
        """`style` of a button, typed; None for anything else."""
        return ButtonStyle(self.style) if isinstance(self.style, int) and self.is_button else None

    @property
    def text_input_style(self) -> TextInputStyle | None:
        """`style` of a text input, typed; None for anything else."""
        is_text_input = self.type == ComponentType.TEXT_INPUT
        return TextInputStyle(self.style) if isinstance(self.style, int) and is_text_input else None

    @property
    def children(self) -> "tuple[Component, ...]":
        """The components directly inside: `components`, `component` and `accessory`."""
        inside = self.components or ()
        single = tuple(child for child in (self.component, self.accessory) if child)
        return inside + single

    def walk(self) -> "Iterator[Component]":
        """This component and all inside it, outermost first.

        >>> buttons = [c for component in message.components or () for c in component.walk() if c.is_button]
        """
        yield self
        for child in self.children:
            yield from child.walk()
