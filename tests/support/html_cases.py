"""Pages, taken apart for tests."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

EMPTY = {"meta", "link", "input", "img", "br", "hr", "path", "circle", "rect"}


@dataclass
class Element:
    """One element; inside: the elements around it, the innermost last; said: its text, whole."""

    tag: str
    attributes: dict[str, str]
    inside: list[Element]
    pieces: list[str] = field(default_factory=list)

    def __getitem__(self, name: str) -> str:
        return self.attributes.get(name, "")

    def __contains__(self, name: str) -> bool:
        return name in self.attributes

    @property
    def said(self) -> str:
        return " ".join("".join(self.pieces).split())


class Page(HTMLParser):
    """The elements of a page, in order. Checks that they are closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[Element] = []
        self.open: list[Element] = []
        self.feed(text)
        assert not self.open, f"left open: {[e.tag for e in self.open]}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        made = Element(tag, {k: v or "" for k, v in attrs}, list(self.open))
        self.elements.append(made)
        if tag not in EMPTY:
            self.open.append(made)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(Element(tag, {k: v or "" for k, v in attrs}, list(self.open)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in EMPTY:
            assert self.open and self.open[-1].tag == tag, f"</{tag}> closes {self.open[-1:]}"
            self.open.pop()

    def handle_data(self, data: str) -> None:
        for element in self.open:
            element.pieces.append(data)

    def all(self, tag: str, **attributes: str) -> list[Element]:
        """The elements with this tag and these attributes."""
        wanted = {k.rstrip("_"): v for k, v in attributes.items()}
        return [e for e in self.elements if e.tag == tag and all(e[k] == v for k, v in wanted.items())]

    def one(self, tag: str, **attributes: str) -> Element:
        found = self.all(tag, **attributes)
        assert len(found) == 1, f"{len(found)} of {tag} {attributes}"
        return found[0]

    def within(self, outer: Element) -> list[Element]:
        """The elements inside another."""
        return [e for e in self.elements if any(o is outer for o in e.inside)]

    def form(self, action: str) -> Element:
        """The form that posts to an address."""
        return self.one("form", action=action)

    def fields(self, form: Element) -> dict[str, str]:
        """What a form would send: its hidden fields, and what is chosen in the others."""
        found: dict[str, str] = {}
        for e in self.within(form):
            if e.tag == "input" and e["name"] and (e["type"] != "radio" or "checked" in e):
                found[e["name"]] = e["value"]
            if e.tag == "option":
                select = next(o for o in reversed(e.inside) if o.tag == "select")
                if "selected" in e or select["name"] not in found:
                    found[select["name"]] = e["value"]
        return found

    @property
    def said(self) -> str:
        return self.one("body").said
