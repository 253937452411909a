"""How Sphinx builds the documentation: ``sphinx-build -W docs site``, or ``nox -s docs``."""

from __future__ import annotations

from importlib.metadata import version as version_of

project = "aiodtls"
author = "the aiodtls authors"
copyright = author
release = version = version_of("aiodtls")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinxarg.ext",
]
exclude_patterns = ["benchmarks/*.md"]

myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence", "deflist"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False

# A build needs no network: where the sites cannot be reached, these copies are read. They hold the
# Python names alone (of Python's own, those of the modules that occur in our signatures).
intersphinx_mapping = {
    "python": ("https://docs.python.org/3", (None, "inventories/python.inv")),
    "cryptography": ("https://cryptography.io/en/latest", (None, "inventories/cryptography.inv")),
}
intersphinx_timeout = 5

html_theme = "furo"
html_title = f"aiodtls {release}"
html_copy_source = False
html_theme_options = {
    "navigation_with_keys": True,
}
