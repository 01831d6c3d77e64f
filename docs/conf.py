"""Sphinx: the documents of this folder, and the reference, from docstrings. `make docs` runs it."""

import sys
from pathlib import Path

import propylon

sys.path.insert(0, str(Path(__file__).parent / "_extensions"))

project = "Propylon"
author = "The Propylon developers"
version = release = propylon.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "reference"]
exclude_patterns = ["_extensions"]

html_theme = "furo"
html_title = f"Propylon {version}"
html_copy_source = False

# The anchors that GitHub makes too.
myst_heading_anchors = 3

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
