"""What owners do with their scenes, for pages and programs. Each raises NerfsceneError if it can't be."""

from __future__ import annotations

import dataclasses
import shutil
from typing import Any

from nerfscene.config import ExportConfig, PageConfig, RenderConfig, TrainConfig
from nerfscene.errors import NerfsceneError
from nerfscene.serve import film_kinds, jobs, people, scenes
from nerfscene.serve.facts import SCENE_FILE
from nerfscene.serve.jobs import Job, NotNow
from nerfscene.serve.people import Person
from nerfscene.serve.scenes import SceneRow, files_of, places, set_settings
from nerfscene.serve.shop import Shop
from nerfscene.serve.webhooks import check_webhook

# What may be asked for; the rest, such as backends and files of the server, is not for its users.
TRAINING = ("time", "quality", "steps", "seed", "refine_cameras")
FILM = (
    *(
        "path",
        "through",
        "loop",
        "look_at",
        "width",
        "height",
        "fps",
        "seconds",
        "samples",
        "preset",
        "codec",
    ),
    *("lens", "fov", "roll", "view_width", "eye_distance", "motion_blur", "aperture", "focus", "exposure"),
    *("background", "preview"),
)
EXPORT = ("world", "faces", "texture", "holes", "count", "degree", "photos", "cameras")
PAGE = ("title", "date", "limit", "path")
PATHS = (
    *("auto", "saved"),
    *("orbit", "spiral", "walkthrough", "dolly", "figure-eight", "turntable", "boom"),
)
# Of a quality. "best", which takes what it takes, is nothing for where other people wait for their turn.
SECONDS = {"1min": 60.0, "5min": 300.0, "20min": 1200.0}
MOST_FRAMES = 18_000  # of a film: five minutes at 60 a second
# The largest values that may be asked for here, where other people wait for their turn.
MOST = {"width": 4096, "height": 4096, "faces": 2_000_000, "count": 5_000_000, "texture": 8192}
MOST_TEXT = 20_000  # characters of a setting: the names of very many photos
ENDINGS = {
    "mesh": ("glb", "obj", "ply", "stl", "usdz"),
    "points": ("ply", "las", "laz"),
    "cameras": ("json", "zip"),
    "splats": ("ply", "spz", "sog", "glb", "usdz", "usdc"),
}


def train(shop: Shop, scene: SceneRow, settings: dict[str, Any], more: bool = False) -> Job:
    """Trains a scene on the photos that have come. settings: of TRAINING; more: go on with the scene that is
    there, up to the time or quality given, instead of from the start."""
    chosen = training(shop, settings)
    refuse_binned(scene)
    files = files_of(shop.db, scene.id)
    if any(f.state == "coming" for f in files):
        raise NotNow("photos are still being uploaded; wait for them, or remove them")
    if not any(f.state == "whole" for f in files):
        raise NotNow("there are no photos yet; add some first")
    set_settings(shop.db, scene.id, chosen)
    return jobs.add(shop.db, scene.id, scene.person, "train", {**chosen, "more": more})


def training(shop: Shop, settings: dict[str, Any]) -> dict[str, Any]:
    """Settings of TRAINING, checked, with an end. Raises NerfsceneError for what would last too long."""
    chosen = only(settings, TRAINING, TrainConfig)
    longest = shop.config.longest
    if "steps" in chosen and "time" not in chosen:
        chosen["time"] = longest
    if "time" not in chosen:
        chosen.setdefault("quality", usual_quality(shop))
    if (chosen.get("time") or SECONDS.get(chosen["quality"], float("inf"))) > longest:
        raise NerfsceneError(
            f"a training may last {longest:.0f} s here, the longest that whoever runs this server allows; "
            "choose a shorter one"
        )
    return chosen


def qualities(shop: Shop) -> list[str]:
    """The qualities whose training may last as long as it does, the shortest first; at least one."""
    return [quality for quality, seconds in SECONDS.items() if seconds <= shop.config.longest]


def usual_quality(shop: Shop) -> str:
    """What is trained if nothing else is asked for: what ``train`` takes, or the best that is allowed."""
    allowed = qualities(shop)
    return TrainConfig.quality if TrainConfig.quality in allowed else allowed[-1]


def film(shop: Shop, scene: SceneRow, settings: dict[str, Any]) -> Job:
    """A film; settings: of FILM, and its ending. ``path`` is a preset's name or "saved", the viewer's."""
    given = dict(settings)
    ending = given.pop("ending", None)
    chosen = only(given, FILM, RenderConfig)
    _check_path(chosen)
    if "through" in chosen and chosen.get("path", "auto") != "auto":
        raise NerfsceneError("through makes a path of its own: leave out path or through")
    made = film_kinds.ending_of(chosen, ending)
    film_kinds.check_size(chosen, made, MOST_FRAMES)
    return _of_trained(shop, scene, "film", chosen if made == "mp4" else {**chosen, "ending": made})


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
    if chosen.get("path") == "saved":
        chosen["path"] = "auto"  # which is the saved one, where there is one
    return _of_trained(shop, scene, "page", chosen)


def remove_job(shop: Shop, job: Job) -> None:
    """Forgets a film or an export that has ended, with its files. Raises NotNow for other work."""
    if job.kind not in ("film", "export"):
        raise NotNow("only films and exports can be removed; a training goes with its scene")
    jobs.remove(shop.db, job.id)
    home = places(shop.data, job.scene)
    for folder in (home.exports, home.films):
        for name in (job.id, f".{job.id}"):  # whole, and as far as it came
            shutil.rmtree(folder / name, ignore_errors=True)
    for file in (*home.films.glob(f"{job.id}.*"), home.home / jobs.lock_of(job.id)):
        file.unlink(missing_ok=True)


def _check_path(chosen: dict[str, Any]) -> None:
    """Raises NerfsceneError unless the path is one of PATHS: a file's name would be one of the server's."""
    if chosen.get("path", "auto") not in PATHS:
        raise NerfsceneError(f"there is no such camera path; choose one of {', '.join(PATHS)}")


def _of_trained(shop: Shop, scene: SceneRow, kind: jobs.Kind, options: dict[str, Any]) -> Job:
    refuse_binned(scene)
    if not (places(shop.data, scene.id).scene / SCENE_FILE).exists():
        raise NotNow("the scene isn't there yet; wait until it has been trained")
    return jobs.add(shop.db, scene.id, scene.person, kind, options)


def only(settings: dict[str, Any], names: tuple[str, ...], config: Any) -> dict[str, Any]:
    """The settings that were given, checked as ``config`` checks them. Raises NerfsceneError for others."""
    given = {k: v for k, v in settings.items() if v is not None}
    for name, most in MOST.items():
        if isinstance(given.get(name), int | float) and given[name] > most:
            raise NerfsceneError(f"{name} may be {most} at most on this server; choose less")
    for name, value in given.items():
        if isinstance(value, str) and len(value) > MOST_TEXT:
            raise NerfsceneError(f"{name} is longer than {MOST_TEXT} characters; name fewer photos, or less")
    unknown = sorted(set(given) - set(names))
    if unknown:
        raise NerfsceneError(f"there is no setting {unknown[0]}; there are {', '.join(names)}")
    try:
        made = config(**given)
    except (TypeError, NerfsceneError) as error:
        # Who asks knows a setting's name, but not the class that has it.
        raise NerfsceneError(str(error).removeprefix(f"{config.__name__}.")) from None
    return {name: getattr(made, name) for name in given} if dataclasses.is_dataclass(made) else given


def refuse_binned(scene: SceneRow) -> None:
    """Raises NerfsceneError for a scene in the bin."""
    if scene.deleted is not None:
        raise NotNow("this scene is in the bin; take it out first")


def delete(shop: Shop, scene: SceneRow) -> None:
    """Puts a scene into the bin. A training is paused, and goes on if it is taken out; other work ends."""
    for job in jobs.jobs_of(shop.db, scene.id):
        if job.state in ("waiting", "running"):
            jobs.ask(shop.db, job.id, "pause" if job.kind == "train" else "stop")
    scenes.delete(shop.db, scene.id)


def set_webhook(shop: Shop, scene: SceneRow, address: str) -> None:
    """The address that is told when the scene's work ends; "" for none.

    Raises NerfsceneError for what is no address.
    """
    scenes.set_webhook(shop.db, scene.id, check_webhook(address))


def send_away(shop: Shop, person: Person) -> None:
    """Ends a person's access and their work; their scenes stay."""
    people.send_away(shop.db, person.id)
    for row in scenes.scenes_of(shop.db, person.id):
        for job in jobs.jobs_of(shop.db, row.id):
            if job.state in jobs.UNFINISHED:
                jobs.ask(shop.db, job.id, "stop")
