"""How the pages in this folder become the site: Sphinx with MyST (Markdown) and furo. ``make docs`` runs it.

What is built loads nothing from the network: no web fonts, no scripts from elsewhere; the search works from
files. Any warning fails the build: a link, an anchor, a picture or a file of the repository that is not
there, a public name without a docstring.
"""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import nerfscene  # noqa: E402 - found by the line above

project = "nerfscene"
author = "the nerfscene authors"
release = nerfscene.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "filled_pages", "api_pages", "source_pages"]
source_suffix = {".md": "markdown"}
root_doc = "index"
exclude_patterns = ["_static"]

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4
suppress_warnings = ["myst.header"]

autodoc_preserve_defaults = True
maximum_signature_line_length = 88
add_function_parentheses = False

html_theme = "furo"
smartquotes = False

html_title = "nerfscene"
html_static_path = ["_static"]
html_css_files = ["nerfscene.css"]
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
html_domain_indices = False
html_show_search_summary = False  # it would be fetched, which a page opened from a file may not do
pygments_style = "friendly"
pygments_dark_style = "github-dark"
