"""Links to files of the repository lead to a page of the site that shows the file, as it was when built.

A page links to ``../nerfscene/types.py`` as it lies in the repository, so the link works there. MyST makes
that a download, and warns where the file is not there; here it becomes a link to a page,
``source/nerfscene/types.py.html``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.addnodes import download_reference
from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[1]
LANGUAGES = {
    ".py": "python", ".cpp": "cpp", ".h": "cpp", ".cu": "cuda", ".md": "markdown", ".toml": "toml",
    ".json": "json", ".sh": "bash",
}  # fmt: skip
linked: set[Path] = set()


def point_at_pages(app: Sphinx, doctree: nodes.document) -> None:
    """Before the downloads are gathered: each one becomes a reference to the page made of it."""
    page = Path(app.env.doc2path(app.env.docname))
    for node in list(doctree.findall(download_reference)):
        file = (page.parent / str(node["reftarget"]).removeprefix("/")).resolve()
        if not file.is_file():
            continue  # said by MyST already
        linked.add(file)
        uri = f"source/{file.relative_to(ROOT).as_posix()}.html"
        node.replace_self(nodes.reference("", "", *node.children, refuri=uri, internal=True))


def source_pages(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    """A page for every file that was linked to."""
    highlighter = app.builder.highlighter  # type: ignore[attr-defined]
    for file in sorted(linked):
        name = file.relative_to(ROOT).as_posix()
        language = LANGUAGES.get(file.suffix, "make" if file.name == "Makefile" else "text")
        code = highlighter.highlight_block(file.read_text(encoding="utf-8"), language, linenos=False)
        yield f"source/{name}", {"title": name, "body": f"<h1>{name}</h1>\n{code}"}, "page.html"


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("doctree-read", point_at_pages, priority=100)
    app.connect("html-collect-pages", source_pages)
    return {"parallel_read_safe": False}
