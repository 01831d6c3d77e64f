"""What Discord sends of an event, below its entry in the reference, and links in the line of its intents.

The example is what `propylon.testing.make` makes of the class, so that it decodes, and a new field
needs no line here.
"""

import json
import re
from typing import Any, Final

from sphinx.application import Sphinx
from sphinx.util.typing import ExtensionMetadata

from propylon import Intents, events
from propylon.events import Event
from propylon.testing import make

_INTENTS: Final = re.compile(r"\b(?:" + "|".join(sorted(Intents.__members__, key=len, reverse=True)) + r")\b")


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
        lines[:] = [*map(link_intents, lines), *example(thing)]


def setup(app: Sphinx) -> ExtensionMetadata:
    """Called by Sphinx."""
    kinds = [getattr(events, name) for name in events.__all__]
    _EXAMPLES.update((kind, make(kind)) for kind in kinds if is_event(kind))
    # After napoleon, and after `reference`, which puts texts back.
    app.connect("autodoc-process-docstring", extend, priority=700)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
