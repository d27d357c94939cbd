"""A page to send, with its content credentials."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from nerfscene.config import CredentialsConfig, PageConfig
from nerfscene.credentials.marking import ready
from nerfscene.exporters.export import INSTEAD, keep_out_of_scenes, signed, try_place
from nerfscene.exporters.folders import straight
from nerfscene.exporters.page import check_page_name, write_page
from nerfscene.exporters.page_text import INDEX
from nerfscene.exporters.told import Told
from nerfscene.scene.atomic import telling
from nerfscene.scene.scene import Scene


def share(
    scene: Scene,
    folder: Path,
    config: PageConfig,
    told: Told,
    credentials: CredentialsConfig = CredentialsConfig(),  # noqa: B008 - frozen
    note: Callable[[str], None] = lambda message: None,
) -> dict[str, Any]:
    """Writes the page with ``write_page``, and signs its first file and its pictures.

    note: called with a line that says why nothing is signed, where c2pa-python is not installed.
    Returns what ``write_page`` does, and "open": the file to open, and "credentials": the files that hold
    these. Raises NerfsceneError as ``write_page`` does, and for a key that can't be used.
    """
    from nerfscene.films.video import check_folder_of, make_folder_of  # loads av

    with telling(folder):  # a name can be too long
        single = check_page_name(folder, config.single)
        keep_out_of_scenes(folder)
        check_folder_of(folder, INSTEAD)
        folder = straight(folder)
    marker = ready(credentials, told.warn, note)
    make_folder_of(folder, INSTEAD)
    try_place(folder)
    made = write_page(scene, folder, config, told)
    first = folder if single else folder / INDEX
    settings: dict[str, Any] = {"splats": made.get("splats", 0), "single": single}
    marked = signed(scene, first, "page", settings, marker, told)
    for picture in [] if single else sorted(folder.glob("*.jpg")):
        marked += signed(scene, picture, "picture", {}, marker, told)
    return {**made, "open": str(first), "credentials": [str(one) for one in marked]}
