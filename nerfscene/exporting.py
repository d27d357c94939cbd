"""What is made of a scene, each as one call: films, exports, pages, and splats in its folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nerfscene.api import FROM_LOAD, Warn, fit_heard, warner, with_progress
from nerfscene.config import CredentialsConfig, ExportConfig, PageConfig, RenderConfig
from nerfscene.errors import NerfsceneError
from nerfscene.exporters import export as exports
from nerfscene.exporters.told import Told
from nerfscene.films.filming import render_film
from nerfscene.given import count_given, instance_given, path_given, seconds_given
from nerfscene.scene import folder as scenes
from nerfscene.scene.folder import Scene
from nerfscene.scene.folder_lock import only_one
from nerfscene.training.progress import Progress, silent


def film(
    scene: Scene,
    file: Path | str,
    config: RenderConfig = RenderConfig(),  # noqa: B008 - frozen
    frames: Path | str | None = None,
    *,
    progress: bool = False,
    warn: Warn | None = None,
    credentials: CredentialsConfig = CredentialsConfig(),  # noqa: B008 - frozen
) -> dict[str, float | int | str | list[str]]:
    """Films a scene along ``config.path`` to the video ``file`` and, if given, to pictures in ``frames``.

    file: ends in .mp4, .mov, .mkv, .webm, .gif or .webp, which choose the codec unless ``config.codec`` or
    ``config.preset`` does. frames: a new or empty folder for numbered PNG pictures.
    progress: print the progress, as the command line does. warn: called with each sentence about the path;
    when it is not given, they are issued as NerfsceneWarning.
    credentials: how the film is signed; it isn't where c2pa-python is not installed.
    Returns frames (their number), fps, width, height, seconds, film, frames_folder, credentials: the files
    that hold the film's, and warnings: the sentences about the path again.
    Raises NerfsceneError for a path, size, output or key that can't be used, and TypeError for an argument of
    the wrong type.
    """
    instance_given(scene, Scene, "scene", FROM_LOAD)
    instance_given(config, RenderConfig, "config")
    instance_given(credentials, CredentialsConfig, "credentials")
    folder = path_given(frames, "frames") if frames is not None else None
    with with_progress(silent, progress) as heard:

        def told(done: int, total: int) -> None:
            heard(Progress("rendering", done / total))

        return render_film(
            scene,
            config,
            path_given(file, "file"),
            folder,
            told,
            warner(warn),
            credentials=credentials,
        )


def export(
    scene: Scene,
    file: Path | str,
    config: ExportConfig = ExportConfig(),  # noqa: B008 - frozen
    to: str | None = None,
    *,
    progress: bool = False,
    warn: Warn | None = None,
    credentials: CredentialsConfig | None = None,
) -> dict[str, Any]:
    """Writes a scene as a mesh, points, cameras or splats, for other programs to open.

    The scene's crop applies to all of these, and they lie on each other.
    file: its ending is the format: .glb, .obj, .ply, .stl or .usdz for a mesh; .ply, .las or .laz for points;
    transforms.json or a folder for cameras; .ply, .spz, .sog, .glb, .usdz or .usdc for splats. A file of that
    name is replaced once the new one is complete. to: "mesh", "points", "cameras" or "splats"; it may be left
    out where the ending says it. progress: print the progress, as the command line does. warn: called with
    each sentence about what was left out; when it is not given, they are issued as NerfsceneWarning.
    credentials: how the file is signed; None: it isn't.
    Returns plain values that say what was written, among them kind, file and credentials: the files that
    hold these.
    Raises NerfsceneError for a kind, ending, place or key that can't be used, or a package that is missing;
    and TypeError for an argument of the wrong type.
    """
    instance_given(scene, Scene, "scene", FROM_LOAD)
    instance_given(config, ExportConfig, "config")
    if to is not None:
        instance_given(to, str, "to")
    if credentials is not None:
        instance_given(credentials, CredentialsConfig, "credentials")
    place = path_given(file, "file")
    with with_progress(silent, progress) as listener:
        told = Told(lambda stage, done: listener(Progress(stage, done)), warner(warn), fit_heard(listener))
        return exports.export(scene, place, to, config, told, credentials)


def share(
    scene: Scene,
    folder: Path | str,
    config: PageConfig = PageConfig(),  # noqa: B008 - frozen
    *,
    progress: bool = False,
    warn: Warn | None = None,
    credentials: CredentialsConfig = CredentialsConfig(),  # noqa: B008 - frozen
) -> dict[str, Any]:
    """Writes a page that shows a scene in any browser, with no server and no network beyond its own files.

    folder: of the page, or with ``config.single`` one .html file. progress: print the progress, as the
    command line does. warn: called with each sentence about what was left out; when it is not given, they
    are issued as NerfsceneWarning. credentials: how the page is signed; it isn't where c2pa-python is not
    installed.
    Returns plain values that say what was written, among them open: the file to open, bytes: of all files
    together, splats, and credentials: the files that hold these.
    Raises NerfsceneError for a place or key that can't be used or a size in which no page fits, and TypeError
    for an argument of the wrong type.
    """
    from nerfscene.exporters import share as pages  # takes a while to load

    instance_given(scene, Scene, "scene", FROM_LOAD)
    instance_given(config, PageConfig, "config")
    instance_given(credentials, CredentialsConfig, "credentials")
    place = path_given(folder, "folder")
    with with_progress(silent, progress) as listener:
        told = Told(lambda stage, done: listener(Progress(stage, done)), warner(warn))
        return pages.share(scene, place, config, told, credentials)


def fit_splats(
    folder: Path | str,
    seconds: float = 60.0,
    backend_name: str = "auto",
    threads: int = 0,
    *,
    progress: bool = False,
    warn: Warn | None = None,
) -> Scene:
    """Fits Gaussian splats to the scene in ``folder`` and saves them there; returns the scene with them.

    They begin on the surfaces of the scene's field and come to look like the photos that it was trained on.
    Exports, pages and the viewer use them from then on; training the scene further removes them.
    seconds: how long to fit. threads: CPU threads to use, 0 for all. progress: print the progress, as the
    command line does. warn: called with each warning; when it is not given, they are issued as
    NerfsceneWarning. Ctrl-C ends the fit early, and what there is is saved.
    Raises NerfsceneError for a scene or photo that can't be read, a scene of which nothing can be seen, or a
    folder that can't be written; and TypeError for an argument of the wrong type.
    """
    from nerfscene.exporters.splat_fitting import saved_with_splats  # takes a while to load

    place = path_given(folder, "folder")
    seconds_given(seconds, "seconds")
    if not seconds:
        raise NerfsceneError("seconds must be above 0")
    count_given(threads, "threads", 0, 1024)
    scene = scenes.load(place)
    with only_one(place), with_progress(silent, progress) as heard:
        told = Told(lambda stage, done: heard(Progress(stage, done)), warner(warn), fit_heard(heard))
        return saved_with_splats(scene, place, float(seconds), told, backend_name, threads)
