"""Links of our documents and of the built site, and whether what they lead to is there. Nothing is fetched."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

_CODE = re.compile(r"^```.*?^```$|`[^`\n]+`", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} +(.+?)(?: +#+)?$", re.MULTILINE)


def anchors_of(text: str) -> set[str]:
    """Those that GitHub makes of headings."""
    found: set[str] = set()
    for heading in _HEADING.findall(re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)):
        plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        number = 0
        while (name := f"{slug}-{number}" if number else slug) in found:
            number += 1
        found.add(name)
    return found


def broken_in_documents(documents: list[Path]) -> Iterator[str]:
    """Links of Markdown files to files that are not there, or to headings that their file has not."""
    for document in documents:
        for target in _LINK.findall(_CODE.sub("", document.read_text("utf-8"))):
            if urlsplit(target).scheme:
                continue
            path, anchor = urldefrag(target)
            file = document.parent / unquote(path) if path else document
            if not file.exists():
                yield f"{document.name}: no file {target}"
            elif anchor and file.suffix == ".md" and anchor not in anchors_of(file.read_text("utf-8")):
                yield f"{document.name}: no heading {target}"


@dataclass
class Page(HTMLParser):
    """What a page of the site has to be led to, and where it leads."""

    ids: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)
    """What the browser fetches by itself."""

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Called for each element."""
        given = dict(attrs)
        for key in ("id", "name"):
            if value := given.get(key):
                self.ids.add(value)
        for key in ("href", "src"):
            value = given.get(key)
            if value is not None:
                self.links.append(value)
                fetched = key == "src" or (tag == "link" and "canonical" not in (given.get("rel") or ""))
                if fetched:
                    self.loaded.append(value)


def read(site: Path) -> dict[Path, Page]:
    """All pages, by where they are."""
    pages: dict[Path, Page] = {}
    for file in sorted(site.rglob("*.html")):
        page = Page()
        page.feed(file.read_text("utf-8"))
        pages[file.resolve()] = page
    return pages


def broken_in_site(pages: dict[Path, Page]) -> Iterator[str]:
    """Links within the site that lead nowhere, and what a page would fetch from elsewhere."""
    for file, page in pages.items():
        for target in page.links:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            path, anchor = unquote(parts.path), unquote(parts.fragment)
            led_to = (file.parent / path).resolve() if path else file
            if not led_to.exists():
                yield f"{file.name}: no file {target}"
            elif anchor and led_to in pages and anchor not in pages[led_to].ids:
                yield f"{file.name}: no place {target}"
        for target in page.loaded:
            if urlsplit(target).netloc:
                yield f"{file.name}: is fetched from elsewhere: {target}"
