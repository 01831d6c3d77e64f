"""No link within our documents is broken."""

from pathlib import Path

from blocks import documents
from links import anchors_of, broken_in_documents, broken_in_site, read


def test_no_link_of_a_document_is_broken() -> None:
    assert not [*broken_in_documents(documents())]


def test_a_heading_has_the_anchor_that_github_makes() -> None:
    text = "# A `Gateway`, or two\n\n## Cost\n\n```\n# no heading\n```\n\n## Cost\n"
    assert anchors_of(text) == {"a-gateway-or-two", "cost", "cost-1"}


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    (tmp_path / "there.md").write_text("# Here\n")
    page = tmp_path / "page.md"
    page.write_text("[a](there.md#here) [b](there.md#gone) [c](gone.md) [d](https://example.com) `[e](gone.md)`\n")
    assert [*broken_in_documents([page])] == ["page.md: no heading there.md#gone", "page.md: no file gone.md"]


def test_a_broken_link_of_the_site_is_found(tmp_path: Path) -> None:
    (tmp_path / "there.html").write_text('<h1 id="here">x</h1>')
    (tmp_path / "page.html").write_text(
        '<a href="there.html#here"></a><a href="there.html#gone"></a><a href="gone.html"></a><a href="#own"></a>'
        '<a href="https://example.com"></a><img src="https://example.com/x.png">'
    )
    assert [*broken_in_site(read(tmp_path))] == [
        "page.html: no place there.html#gone",
        "page.html: no file gone.html",
        "page.html: no place #own",
        "page.html: is fetched from elsewhere: https://example.com/x.png",
    ]
