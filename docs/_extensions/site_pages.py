"""What the site has beside its pages: ``llms.txt`` and ``llms-full.txt``, and what its search leaves out.

``llms.txt`` lists the pages with their first sentences, by the parts of the menu, as llmstxt.org describes it;
``llms-full.txt`` is all of them as plain text. sphinx-llms-txt copies sources instead, of which the reference has only
directives.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.typing import ExtensionMetadata
from sphinx.writers.text import TextTranslator

_QUIET: Final = ("protocol-coverage",)
"""Pages that would answer every search: a table of all rules and tests."""


def leave_out_of_the_search(app: Sphinx, _document: nodes.document) -> None:
    """As the field ``nosearch`` of a page does, which GitHub would show above the table."""
    if app.env.docname in _QUIET:
        app.env.metadata[app.env.docname]["nosearch"] = "true"


def pages(env: BuildEnvironment) -> Iterator[str]:
    """The names of all pages, in the order of the menu."""
    seen: set[str] = set()
    waiting = [env.config.root_doc]
    while waiting:
        name = waiting.pop(0)
        if name in seen or name not in env.found_docs:
            continue
        seen.add(name)
        yield name
        waiting = [*env.toctree_includes.get(name, []), *waiting]


def parts(env: BuildEnvironment) -> dict[str, str]:
    """Of each part of the menu, its first page and its caption."""
    trees = env.get_doctree(env.config.root_doc).findall(addnodes.toctree)
    return {tree["includefiles"][0]: tree["caption"] for tree in trees if tree.get("caption")}


def summary(document: nodes.document) -> str:
    """The first sentence of a page."""
    texts = (" ".join(node.astext().split()) for node in document.findall(nodes.paragraph))
    text = next((text for text in texts if text and not text.startswith("Bases:")), "")
    return re.split(r"(?<=[.!?]) ", text, maxsplit=1)[0]


def text_of(app: Sphinx, name: str) -> str:
    """A page as plain text."""
    document = app.env.get_and_resolve_doctree(name, app.builder)
    for node in [*document.findall(nodes.raw), *document.findall(nodes.image)]:
        node.parent.remove(node)
    translator = TextTranslator(document, app.builder)  # type: ignore[arg-type]
    document.walkabout(translator)
    return translator.body


def write(app: Sphinx, error: Exception | None) -> None:
    """Both files, once the site is built."""
    if error is not None or app.builder.name != "html":
        return
    version, where = app.config.version, app.builder.get_target_uri
    listed = [f"# {app.config.project} {version}", "", f"> {summary(app.env.get_doctree(app.config.root_doc))}", ""]
    whole: list[str] = []
    captions = parts(app.env)
    for name in pages(app.env):
        if name in _QUIET:
            continue
        title = app.env.titles[name].astext()
        if caption := captions.get(name):
            listed += ["", f"## {caption}", ""]
        told = summary(app.env.get_doctree(name))
        listed.append(f"- [{title}]({where(name)})" + (f": {told}" if told else ""))
        whole += [f"<!-- {where(name)} -->", "", text_of(app, name), ""]
    Path(app.outdir, "llms.txt").write_text("\n".join([*listed, ""]), "utf-8")
    Path(app.outdir, "llms-full.txt").write_text("\n".join(whole), "utf-8")


def setup(app: Sphinx) -> ExtensionMetadata:
    """Called by Sphinx."""
    app.connect("doctree-read", leave_out_of_the_search)
    app.connect("build-finished", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
