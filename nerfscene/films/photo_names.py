"""Finds the photos of a scene that somebody names."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from nerfscene.errors import NerfsceneError
from nerfscene.types import View

MOST_NEAR = 3  # names that are offered instead of an unknown one


def named_list(text: str, views: Sequence[View]) -> list[View]:
    """The views that a list of names, separated by commas, gives; a name may have commas itself.

    Raises NerfsceneError as ``named`` does.
    """
    pieces, found = text.split(","), []
    while pieces:
        for count in range(1, len(pieces) + 1):  # the shortest name first
            view = _one(",".join(pieces[:count]), views)
            if view is not None:
                found.append(view)
                pieces = pieces[count:]
                break
        else:
            raise _unknown(pieces[0], views)
    return found


def named(name: str, views: Sequence[View]) -> View:
    """The view of this name.

    name: the photo's file, with or without its ending and the folders that it is in. A panorama's name gives
    its front, with the panorama as its path. Raises NerfsceneError, with names near it, if no photo has it,
    and if more than one has.
    """
    view = _one(name, views)
    if view is None:
        raise _unknown(name, views)
    return view


def there_is(name: str, views: Sequence[View]) -> bool:
    """Whether a photo has this name. Raises NerfsceneError if more than one has."""
    return _one(name, views) is not None


def _one(name: str, views: Sequence[View]) -> View | None:
    """The view of this name; None if there is none. Raises NerfsceneError for more than one."""
    wanted = name.strip().replace("\\", "/").removeprefix("./")
    if not wanted:
        return None
    for any_case in (False, True):  # the exact name goes first
        for bare in (False, True):
            found: dict[str, View] = {}
            for view in views:
                if _fits(view.path, wanted, any_case, bare):
                    found.setdefault(view.path.as_posix(), view)
                elif view.panorama is not None and _fits(view.panorama, wanted, any_case, bare):
                    place = view.panorama.as_posix()
                    if place not in found or view.face == "front":
                        found[place] = replace(view, path=view.panorama)
            if len(found) > 1:
                shown = " or ".join(list(found)[:2])
                raise NerfsceneError(f"the photo {wanted!r:.80} may be {shown}: give more of its path")
            if found:
                return next(iter(found.values()))
    return None


def _fits(path: Path, wanted: str, any_case: bool, bare: bool) -> bool:
    """Whether a file is called ``wanted``, in whatever folder; bare: without its ending."""
    whole = (path.with_suffix("") if bare else path).as_posix()
    if any_case:
        whole, wanted = whole.lower(), wanted.lower()
    return whole == wanted or whole.endswith("/" + wanted)


def _unknown(name: str, views: Sequence[View]) -> NerfsceneError:
    """What to say of a name that no view has."""
    files = list(dict.fromkeys((view.panorama or view.path).name for view in views))
    if not name.strip():
        return NerfsceneError(f"a photo's name is missing; this scene's are called like {files[0]}")
    wanted = Path(name.strip().replace("\\", "/")).name
    stems = {Path(file).stem: file for file in files} if not Path(wanted).suffix else {f: f for f in files}
    near = [stems[stem] for stem in difflib.get_close_matches(wanted, list(stems), MOST_NEAR)]
    instead = f"did you mean {' or '.join(near)}?" if near else f"they are called like {files[0]}"
    return NerfsceneError(f"this scene has no posed photo called {name.strip()!r:.80}; {instead}")
