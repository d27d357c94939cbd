"""Signs files that a program of the user's own wrote from a scene, such as a rendered picture."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from nerfscene.config import CredentialsConfig
from nerfscene.credentials import library
from nerfscene.credentials.checking import check
from nerfscene.credentials.facts import facts_of
from nerfscene.credentials.marking import ready, sign
from nerfscene.errors import NerfsceneError
from nerfscene.given import instance_given, path_given
from nerfscene.scene.scene import Scene


def mark(
    file: Path | str,
    scene: Scene,
    kind: str = "picture",
    settings: Mapping[str, float | str | bool] | None = None,
    credentials: CredentialsConfig = CredentialsConfig(),  # noqa: B008 - frozen
) -> Path:
    """Signs a file that was made from ``scene`` with content credentials; returns the file that holds them.

    That is ``file`` itself, or a .c2pa file beside it for kinds that can't hold any. kind: what it is, in a
    word. settings: what it was made with, which the credentials repeat. credentials: the kind of source and
    the key; its ``credentials`` is of no account here.
    Raises NerfsceneError if c2pa-python isn't installed, for a key or file that can't be used, and for a file
    with credentials that nerfscene didn't write, which would be lost; TypeError for arguments of other types.
    """
    place = path_given(file, "file")
    instance_given(scene, Scene, "scene", ", as nerfscene.load returns")
    instance_given(kind, str, "kind")
    _check_settings(settings)
    instance_given(credentials, CredentialsConfig, "credentials")
    library.c2pa()
    found = check(place)
    if found["state"] != "unsigned" and not str(found["made_with"]).startswith("nerfscene "):
        raise NerfsceneError(
            f"{place} has content credentials already, or is damaged; signing it would drop them, so sign a "
            "copy without them"
        )
    told: list[str] = []
    marker = ready(CredentialsConfig(True, credentials.source_type, credentials.credentials_key), told.append)
    if marker.key is None:
        raise NerfsceneError(told[0])
    return sign(place, facts_of(scene, kind, settings or {}), marker.key, marker.source)


def _check_settings(settings: object) -> None:
    """Raises TypeError for anything but a mapping from names to finite numbers, texts and truths, or None."""
    if settings is None:
        return
    instance_given(settings, Mapping, "settings")  # type: ignore[type-abstract]
    assert isinstance(settings, Mapping)
    for name, value in settings.items():
        plain = isinstance(value, str) or (isinstance(value, int | float) and math.isfinite(value))
        if not (isinstance(name, str) and plain):
            raise TypeError(f"settings must be names with finite numbers or texts, not {name!r}: {value!r}")
