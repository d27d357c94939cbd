"""What ``checking`` found, in words for the terminal."""

from __future__ import annotations

from typing import Any

from nerfscene.credentials.facts import TERMS

LONGEST = 200  # characters of a text that somebody else may have written
STATES = {
    "valid": "valid: nothing has changed since it was signed",
    "changed": "CHANGED since it was signed: what it says no longer holds for this file",
    "invalid": "not valid",
}
KEYS = {
    "own": "this machine's own key",
    "trusted": "trusted: vouched for by a certificate that you gave",
    "self-made": "a self-made key, which nobody vouches for: the name proves nothing",
    "unknown": "a certificate from an authority; --trust FILE says whom you trust",
}
SOURCES = {
    "compositeCapture": "a composite of captures of real life",
    "computationalCapture": "a computational capture of real life",
    "composite": "a composite of several elements",
    "compositeSynthetic": "a composite with synthetic elements",
    "virtualRecording": "a recording of a virtual world",
    "trainedAlgorithmicMedia": "made by a trained model",
}
assert set(SOURCES) == set(TERMS.values())


def in_words(d: dict[str, Any]) -> str:
    """What ``checking.check`` or ``check_page`` returned, as lines."""
    if "files" in d:
        return _page_in_words(d)
    if d["state"] == "unsigned":
        return f"{d['file']}: no content credentials, in it or beside it"
    if d["state"] == "unreadable":
        why = _plain("; ".join(d["problems"]))
        return f"{d['file']}: {d['held_in']} can't be read for content credentials: it is damaged ({why})"
    photos = "" if d["photos"] is None else f" ({d['photos']} photo{'' if d['photos'] == 1 else 's'})"
    lines = [f"{d['file']}: {_plain(d['what'] or 'signed')}{photos}"]
    problems = f" ({_plain('; '.join(d['problems']))})" if d["state"] == "invalid" else ""
    lines.append(f"  signature {STATES[d['state']]}{problems}")
    lines.append(f"  signer    {_plain(d['signer'] or 'without a name')}: {KEYS[d['key']]}")
    if d["when"] or d["made_with"]:
        made = [_plain(d["when"] or ""), f"with {_plain(d['made_with'])}" if d["made_with"] else ""]
        clock = "by an authority's time stamp" if d["time_stamped"] else "by the signer's account"
        lines.append(f"  made      {' '.join(filter(None, made))}, {clock}")
    if d["source_type"]:
        words = SOURCES.get(d["source_type"])
        term = _plain(d["source_type"])
        lines.append(f"  source    {words} (IPTC: {term})" if words else f"  source    {term}")
    if d["scene"]:
        lines.append(f"  scene     {_plain(d['scene'])}")
    if d["settings"]:
        said = ", ".join(f"{name} {value}" for name, value in d["settings"].items())
        lines.append(f"  {_plain(d['kind'] or 'settings')[:9]:<9} {_plain(said)}")
    if d["held_in"] != d["file"]:
        lines.append(f"  held in   {d['held_in']}")
    return "\n".join(lines)


def _page_in_words(d: dict[str, Any]) -> str:
    if not d["files"]:
        return f"{d['folder']}: no file in it has content credentials"
    return "\n".join(in_words(found) for found in d["files"])


def _plain(text: str) -> str:
    """A text without what a terminal would act on, cut to a bearable length."""
    shown = "".join(c if c.isprintable() else "?" for c in text)
    return shown if len(shown) <= LONGEST else shown[: LONGEST - 1] + "…"
