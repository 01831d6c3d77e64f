"""Below the entry of an event in the reference: where its fields are, and what Discord sends; links in its intents.

The example is what `propylon.testing.make` makes of the class, with words for its empty texts. So it decodes, and a new
field needs no line here.
"""

import json
import re
from typing import Any, Final

from sphinx.application import Sphinx
from sphinx.util.typing import ExtensionMetadata

from propylon import Intents, events
from propylon.events import Event
from propylon.models import Model
from propylon.testing import make

_INTENTS: Final = re.compile(r"\b(?:" + "|".join(sorted(Intents.__members__, key=len, reverse=True)) + r")\b")

_WORDS: Final = {"name": "general", "username": "ada", "topic": "Talk of anything", "content": "Hello"}
"""What stands in an example for an empty text of that name."""

_EXAMPLES: Final[dict[type[Event], dict[str, Any]]] = {}
"""Of each public event. Made at the start: later, `reference` has given the classes annotations to be read."""


def is_event(thing: Any) -> bool:
    """Whether it is the class of an event that comes."""
    return isinstance(thing, type) and issubclass(thing, Event) and bool(thing.__event_name__)


def link_intents(line: str) -> str:
    """Links for the names in a line that begins with them."""
    if not line.startswith(("Intent:", "Intents:")):
        return line
    told, found, rest = line.partition(" https:")
    return _INTENTS.sub(r"`Intents.\g<0>`", told) + found + rest


def told(value: Any, name: str = "") -> Any:
    """A payload with words for its empty texts."""
    if isinstance(value, dict):
        return {key: told(inner, key) for key, inner in value.items()}
    if isinstance(value, list):
        return [told(inner) for inner in value]
    return _WORDS.get(name, value) if value == "" else value


def inherited(kind: type[Event]) -> list[str]:
    """Lines that say where its fields are, if they are those of a model."""
    models = (base for base in kind.__bases__ if issubclass(base, Model) and not issubclass(base, Event))
    model = next((base.__name__ for base in models if base.__struct_fields__), "_")
    return [] if model.startswith("_") else ["", f"It has the fields of `{model}`."]


def example(kind: type[Event]) -> list[str]:
    """Lines of reStructuredText: the payload, folded up until somebody wants it."""
    payload = json.dumps(_EXAMPLES[kind], indent=2, ensure_ascii=False, sort_keys=True)
    name = kind.__event_name__
    return [
        "",
        ".. raw:: html",
        "",
        f'   <details class="payload"><summary>An example of <code>{name}</code></summary>',
        "",
        ".. code-block:: json",
        "",
        *(f"   {line}" for line in payload.splitlines()),
        "",
        ".. raw:: html",
        "",
        "   </details>",
        "",
    ]


def extend(_app: Sphinx, what: str, _name: str, thing: Any, _options: Any, lines: list[str]) -> None:
    """Called by autodoc with the text of each entry."""
    if what == "class" and isinstance(thing, type) and thing in _EXAMPLES:
        lines[:] = [*map(link_intents, lines), *inherited(thing), *example(thing)]


def setup(app: Sphinx) -> ExtensionMetadata:
    """Called by Sphinx."""
    kinds = [getattr(events, name) for name in events.__all__]
    _EXAMPLES.update((kind, told(make(kind))) for kind in kinds if is_event(kind))
    # After napoleon, and after `reference`, which puts texts back.
    app.connect("autodoc-process-docstring", extend, priority=700)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
