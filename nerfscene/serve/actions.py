"""What owners do with their scenes, for pages and programs. Each raises NerfsceneError if it can't be."""

from __future__ import annotations

import dataclasses
import shutil
from typing import Any

from nerfscene.config import ExportConfig, PageConfig, RenderConfig, TrainConfig
from nerfscene.errors import NerfsceneError
from nerfscene.serve import jobs
from nerfscene.serve.facts import SCENE_FILE
from nerfscene.serve.jobs import Job
from nerfscene.serve.scenes import SceneRow, files_of, places, set_settings
from nerfscene.serve.shop import Shop

# What may be asked for; the rest, such as backends and files of the server, is not for its users.
TRAINING = ("time", "quality", "steps", "seed", "refine_cameras")
FILM = ("path", "through", "loop", "look_at", "width", "height", "fps", "seconds", "samples")
EXPORT = ("world", "faces", "texture", "holes", "count", "degree", "photos", "cameras")
PAGE = ("title", "date", "limit", "path")
PATHS = ("auto", "saved", "orbit", "spiral", "walkthrough", "dolly", "figure-eight", "turntable", "boom")
ENDINGS = {
    "mesh": ("glb", "obj", "ply", "stl", "usdz"),
    "points": ("ply", "las", "laz"),
    "cameras": ("json", "zip"),
    "splats": ("ply", "spz", "sog", "glb", "usdz", "usdc"),
}


def train(shop: Shop, scene: SceneRow, settings: dict[str, Any], more: bool = False) -> Job:
    """Trains a scene on the photos that have come. settings: of TRAINING; more: go on with the scene that is
    there, up to the time or quality given, instead of from the start."""
    chosen = only(settings, TRAINING, TrainConfig)
    if chosen.get("time") and chosen["time"] > shop.config.longest:
        raise NerfsceneError(
            f"a training may last {shop.config.longest:.0f} s here; choose a shorter one, or start the "
            "server with a larger --longest"
        )
    files = files_of(shop.db, scene.id)
    if any(f.state == "coming" for f in files):
        raise NerfsceneError("photos are still being uploaded; wait for them, or remove them")
    if not any(f.state == "whole" for f in files):
        raise NerfsceneError("there are no photos yet; add some first")
    set_settings(shop.db, scene.id, chosen)
    return jobs.add(shop.db, scene.id, scene.person, "train", {**chosen, "more": more})


def film(shop: Shop, scene: SceneRow, settings: dict[str, Any]) -> Job:
    """A film; settings: of FILM. ``path`` is a preset's name or "saved", the one made in the viewer."""
    chosen = only(settings, FILM, RenderConfig)
    _check_path(chosen)
    return _of_trained(shop, scene, "film", chosen)


def export(shop: Shop, scene: SceneRow, to: str, ending: str, settings: dict[str, Any]) -> Job:
    """An export: to and ending as ENDINGS has them; settings: of EXPORT."""
    ending = ending.lstrip(".").lower()
    if ending not in ENDINGS.get(to, ()):
        raise NerfsceneError(
            f"{to or 'an export'} can't be .{ending}; choose one of "
            + "; ".join(f"{kind}: {', '.join(known)}" for kind, known in ENDINGS.items())
        )
    chosen = only(settings, EXPORT, ExportConfig)
    return _of_trained(shop, scene, "export", {**chosen, "to": to, "ending": ending})


def page(shop: Shop, scene: SceneRow, settings: dict[str, Any]) -> Job:
    """The page to send, made again; settings: of PAGE."""
    chosen = only(settings, PAGE, PageConfig)
    _check_path(chosen)
    return _of_trained(shop, scene, "page", chosen)


def remove_job(shop: Shop, job: Job) -> None:
    """Forgets a job that has ended, with the film or export that it made."""
    jobs.remove(shop.db, job.id)
    home = places(shop.data, job.scene)
    shutil.rmtree(home.exports / job.id, ignore_errors=True)
    (home.films / f"{job.id}.mp4").unlink(missing_ok=True)


def _check_path(settings: dict[str, Any]) -> None:
    """Raises NerfsceneError for a camera path that would be a file of the server."""
    if settings.get("path", "auto") not in PATHS:
        raise NerfsceneError(f"there is no camera path {settings['path']}; choose {', '.join(PATHS)}")


def _of_trained(shop: Shop, scene: SceneRow, kind: jobs.Kind, options: dict[str, Any]) -> Job:
    if not (places(shop.data, scene.id).scene / SCENE_FILE).exists():
        raise NerfsceneError("the scene isn't there yet; wait until it has been trained")
    return jobs.add(shop.db, scene.id, scene.person, kind, options)


def only(settings: dict[str, Any], names: tuple[str, ...], config: Any) -> dict[str, Any]:
    """The settings that were given, checked as ``config`` checks them. Raises NerfsceneError for others."""
    given = {k: v for k, v in settings.items() if v is not None}
    unknown = sorted(set(given) - set(names))
    if unknown:
        raise NerfsceneError(f"there is no setting {unknown[0]}; there are {', '.join(names)}")
    try:
        made = config(**given)
    except TypeError as error:
        raise NerfsceneError(str(error)) from None
    return {name: getattr(made, name) for name in given} if dataclasses.is_dataclass(made) else given
