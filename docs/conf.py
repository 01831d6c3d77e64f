"""Sphinx: the documents of this folder, and the reference, from docstrings. `make docs` runs it."""

import sys
from pathlib import Path

import propylon

sys.path.insert(0, str(Path(__file__).parent / "_extensions"))

project = "Propylon"
author = "The Propylon developers"
copyright = "the Propylon developers, MIT licence"
version = release = propylon.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    # Before the one that changes annotations.
    "payloads",
    "reference",
    "site_pages",
]
exclude_patterns = ["_extensions", "_tools"]

REPOSITORY = "https://github.com/propylon/propylon"

html_theme = "furo"
# The sister of the theme's light one. The dark one of the theme underlines names of modules, as if they were links.
pygments_dark_style = "a11y-high-contrast-dark"
html_title = f"Propylon {version}"
html_copy_source = False
html_static_path = ["_static"]
# Without one, browsers ask for /favicon.ico.
html_favicon = "_static/icon.svg"
html_css_files = ["site.css"]
html_theme_options = {
    "source_repository": REPOSITORY,
    "source_branch": "main",
    "source_directory": "docs/",
    "footer_icons": [
        {"name": "Repository", "url": REPOSITORY, "html": "Repository", "class": ""},
        {"name": "Changes", "url": f"{REPOSITORY}/blob/main/CHANGELOG.md", "html": "Changes", "class": ""},
        {"name": "Issues", "url": f"{REPOSITORY}/issues", "html": "Issues", "class": ""},
    ],
}

# Prompts are not copied, and of a console neither is what was printed.
copybutton_prompt_text = r"\$ |>>> |\.\.\. "
copybutton_prompt_is_regexp = True

# The anchors that GitHub makes too.
myst_heading_anchors = 3
# Classes for the lists of the first page, which `site.css` lays out.
myst_enable_extensions = ["attrs_block", "attrs_inline"]

# `x` in a docstring names something of ours, or of Python.
default_role = "py:obj"
nitpicky = True
# OpenTelemetry's: it is no dependency of the documents.
nitpick_ignore = [("py:class", "MeterProvider"), ("py:class", "TracerProvider")]

autoclass_content = "both"
autodoc_default_options = {"members": True, "undoc-members": True, "show-inheritance": True}
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
napoleon_numpy_docstring = False
python_maximum_signature_line_length = 100
python_use_unqualified_type_names = True
