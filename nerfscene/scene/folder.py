"""The scene on disk: what training leaves and everything later reads.

    SCENE/
      scene.json            version, cameras, placement, settings, figures
      field.safetensors     what rendering needs: table (binary16), weights, occupancy bits
      training.safetensors  what going on with training needs; may be deleted
      report.html           what came out, for a person; may be deleted
      poses/                how the photos were posed (COLMAP's files and their outcome)

Plain JSON and safetensors: nothing is executed on loading. Each file is written under a temporary name
and renamed, ``scene.json`` last.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from nerfscene.config import FieldConfig
from nerfscene.errors import NerfsceneError
from nerfscene.field.hash_grid import RadianceField, Space, restored
from nerfscene.field.rendering import Renderer
from nerfscene.types import Array, Intrinsics, View

VERSION = 1
SCENE_JSON, FIELD_FILE, TRAINING_FILE = "scene.json", "field.safetensors", "training.safetensors"


@dataclass(frozen=True)
class Figures:
    """What is known of a scene's making; None where it was not measured."""

    photos: int = 0
    photos_posed: int = 0
    source: str = ""
    reprojection_error: float | None = None
    downscale: float = 1.0
    train_seconds: float = 0.0
    steps: int = 0
    rays: int = 0
    samples: int = 0
    finished: bool = False
    psnr: float | None = None
    ssim: float | None = None
    psnr_matched: float | None = None  # what a held-out photo's exposure and camera alone cost is left out
    views: int = 0
    per_view: tuple[dict[str, Any], ...] = ()
    history: tuple[dict[str, float], ...] = ()
    taken_in: tuple[dict[str, int], ...] = ()  # {"photos", "width", "height", "focal"}: see training.kinds
    left_out: tuple[dict[str, str], ...] = ()  # {"name", "reason"}: photos not used, and why
    warnings: tuple[str, ...] = ()  # what was said of the photos when they were taken in
    posing: dict[str, Any] | None = None  # types.PoseReport's fields, where COLMAP was run here
    cameras_moved: float | None = None  # pixels, by training; None where cameras were left alone
    device: str = ""
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True)
class Scene:
    """A trained scene. ``views`` have the intrinsics of the photos as trained on (downscaled).

    ``crop``: world_from_box (4, 4), which takes [-1, 1]³ to the part of the scene that is shown, in the
    viewer, in films and in exports; None: all of it. Measuring against photos pays no heed to it.
    ``world_from_capture``: the similarity (4, 4) that led from the cameras' coordinates as they were found
    to the scene's world, None where nobody set one; ``up`` (3,): that world's, None where it is to be
    guessed from the cameras. ``backdrop`` (rows, 2 · rows, 3): see ``rendering.Renderer``; None: plain.
    """

    field: RadianceField
    views: tuple[View, ...]
    scene_from_world: Array
    background: tuple[float, float, float]
    has_alpha: bool
    figures: Figures
    points: NDArray[np.float32] = dataclasses.field(default_factory=lambda: np.zeros((0, 3), np.float32))
    crop: Array | None = None
    world_from_capture: Array | None = None
    up: Array | None = None
    backdrop: NDArray[np.float32] | None = None

    def renderer(self, backend: str = "auto", threads: int = 0) -> Renderer:
        """What ``rendering.render`` takes, to look at the scene from anywhere.

        In open space the near plane comes nearer than in training: it was set by what the photos' own
        cameras see, and a camera between them may be closer to the subject.
        """
        field, space = self.field, self.field.space
        if space.unbounded:
            field = replace(field, space=replace(space, near=NEAR_TO_LOOK * space.near))
        return Renderer(
            field, self.scene_from_world, self.background, backend, threads, self.crop, self.backdrop
        )

    def photo_renderer(self, backend: str = "auto", threads: int = 0) -> Renderer:
        """The same for the photos' own cameras: everything, with the near plane that it was trained with.

        Figures are measured so.
        """
        return replace(self.renderer(backend, threads), field=self.field, crop=None)


NEAR_TO_LOOK = 0.7  # of training's near plane: fox's nose needs it, and held-out photos lose 0.06 dB at most


@contextlib.contextmanager
def writing(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` to write to, renamed to it on success, removed on failure.

    Raises NerfsceneError where the disk is full or the folder can't be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.touch()
        usual = temporary.stat().st_mode
        yield temporary
        temporary.chmod(usual)  # safetensors makes its files for this user alone
        os.replace(temporary, path)
    except (OSError, SafetensorError) as error:
        full = getattr(error, "errno", None) == errno.ENOSPC or "No space left" in str(error)
        if full:
            raise NerfsceneError(
                f"the disk is full while writing {path}; free some space and run the same command again"
            ) from error
        raise NerfsceneError(f"{path} can't be written ({error}); choose another folder with -o") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def write_json(data: dict[str, Any], path: Path) -> None:
    """JSON through a temporary name; numbers that are not finite are refused."""
    with writing(path) as temporary:
        temporary.write_text(json.dumps(data, indent=1, allow_nan=False) + "\n")


def save(scene: Scene, folder: Path, training: dict[str, NDArray[Any]] | None = None) -> None:
    """Writes a scene; ``training``: the optimiser's arrays, to go on from.

    Raises NerfsceneError where the folder can't be written or the disk is full.
    """
    f = scene.field
    if training is not None:
        with writing(folder / TRAINING_FILE) as temporary:
            save_file(training, temporary, metadata={"steps": str(scene.figures.steps)})
    with writing(folder / FIELD_FILE) as temporary:
        arrays: dict[str, NDArray[Any]] = {
            "table": f.table.view(np.float16),
            "weights": f.weights,
            "occupancy": f.occupancy,
            "points": scene.points,
        }
        if scene.backdrop is not None:
            arrays["backdrop"] = scene.backdrop
        save_file(arrays, temporary, metadata={"steps": str(scene.figures.steps)})
    data = {
        "format": "nerfscene",
        "version": VERSION,
        "space": asdict(f.space),
        "field": asdict(f.config),
        "background": list(scene.background),
        "has_alpha": scene.has_alpha,
        **described(scene, folder),
        "figures": asdict(scene.figures),
    }
    write_json(data, folder / SCENE_JSON)


def described(scene: Scene, folder: Path) -> dict[str, Any]:
    """The part of a folder's scene.json that is told in the world's coordinates."""
    chosen = {name: getattr(scene, name) for name in ("crop", "world_from_capture", "up")}
    return {
        "scene_from_world": scene.scene_from_world.tolist(),
        **{name: None if array is None else array.tolist() for name, array in chosen.items()},
        "views": [
            {
                "photo": _kept_place(v.path, folder),
                "mask": None if v.mask is None else _kept_place(v.mask, folder),
                "split": v.split,
                "intrinsics": asdict(v.intrinsics),
                "world_from_cam": v.world_from_cam.tolist(),
                "exposure": list(v.exposure),
            }
            for v in scene.views
        ],
    }


def _kept_place(photo: Path, folder: Path) -> str:
    """Absolute; within the scene's folder (a video's frames, say) relative, so that a scene can be moved."""
    place, home = os.path.abspath(photo), os.path.abspath(folder)
    return os.path.relpath(place, home) if place.startswith(home + os.sep) else place


def save_crop(folder: Path, crop: Array | None) -> None:
    """Writes the crop alone into a scene's folder. Raises NerfsceneError as ``save`` and ``load`` do."""
    data = read_manifest(folder)
    data["crop"] = None if crop is None else crop.tolist()
    write_json(data, folder / SCENE_JSON)


def optional_array(data: dict[str, Any], name: str) -> Array | None:
    """scene.json's "crop", "world_from_capture" (4, 4) or "up" (3,). ValueError: no such."""
    if data.get(name) is None:
        return None
    array = np.array(data[name], np.float64)
    usable = array.shape == ((3,) if name == "up" else (4, 4)) and bool(np.isfinite(array).all())
    if not usable or not (np.linalg.norm(array) if name == "up" else abs(np.linalg.det(array))) > 1e-30:
        wanted = "a direction" if name == "up" else "an invertible 4×4 matrix"
        raise ValueError(f"its {name} is not {wanted}")
    return array


def _backdrop(given: NDArray[Any] | None) -> NDArray[np.float32] | None:
    """ValueError: no such."""
    if given is None:
        return None
    if given.ndim != 3 or given.shape[2] != 3 or given.size == 0 or not np.isfinite(given).all():
        raise ValueError("its backdrop is not a picture")
    return given.astype(np.float32, copy=False)


def is_scene(folder: Path) -> bool:
    """Whether a folder holds a scene."""
    return (folder / SCENE_JSON).is_file()


def read_manifest(folder: Path) -> dict[str, Any]:
    """scene.json, checked for what it must have. Raises NerfsceneError saying what is wrong."""
    if not folder.exists():
        raise NerfsceneError(
            f"{folder} doesn't exist; make a scene first: nerfscene train PHOTOS -o {folder}"
        )
    if not is_scene(folder):
        raise NerfsceneError(
            f"{folder} is not a scene (it has no {SCENE_JSON}); give the folder that `nerfscene train` made"
        )
    try:
        data = json.loads((folder / SCENE_JSON).read_text())
    except (OSError, ValueError) as error:
        raise NerfsceneError(
            f"{folder / SCENE_JSON} can't be read ({error}); train the scene again"
        ) from error
    if not isinstance(data, dict) or data.get("format") != "nerfscene":
        raise NerfsceneError(f"{folder / SCENE_JSON} is not a nerfscene scene")
    if data.get("version") != VERSION:
        raise NerfsceneError(
            f"{folder} was written by another version of nerfscene (scene version "
            f"{data.get('version')}, this one reads {VERSION}); update with pip install -U nerfscene"
        )
    return data


def _figures(data: dict[str, Any]) -> Figures:
    known = {f.name for f in fields(Figures)}
    d = {k: v for k, v in data.items() if k in known}
    for name in ("per_view", "history", "taken_in", "left_out", "warnings"):
        d[name] = tuple(d.get(name, ()))
    return Figures(**d)


def read_figures(folder: Path) -> Figures:
    """Only what is known of a scene's making, without its arrays. Raises NerfsceneError as load does."""
    data = read_manifest(folder)
    try:
        return _figures(data["figures"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(folder, error) from error


def read_split(folder: Path) -> list[str]:
    """Which of a scene's views are "train" and which "test", in order. Raises NerfsceneError as load does."""
    data = read_manifest(folder)
    try:
        return [str(v["split"]) for v in data["views"]]
    except (KeyError, TypeError) as error:
        raise _damaged(folder, error) from error


def load(folder: Path | str) -> Scene:
    """Reads a scene. Raises NerfsceneError where it is missing, damaged or from a newer version."""
    folder = Path(folder)
    data = read_manifest(folder)
    try:
        arrays = load_file(folder / FIELD_FILE)
        space = Space(**data["space"])
        config = FieldConfig(**data["field"])
        rf = restored(
            config,
            space,
            np.ascontiguousarray(arrays["table"].astype(np.float16, copy=False)).view(np.uint16),
            np.ascontiguousarray(arrays["weights"].astype(np.float32, copy=False)),
            np.ascontiguousarray(arrays["occupancy"].astype(np.uint32, copy=False)),
        )
        home = Path(os.path.abspath(folder))
        views = tuple(
            View(
                path=home / v["photo"],
                intrinsics=Intrinsics(
                    **{**v["intrinsics"], "distortion": tuple(v["intrinsics"]["distortion"])}
                ),
                world_from_cam=np.array(v["world_from_cam"], np.float64),
                split=v["split"],
                exposure=tuple(v.get("exposure", (0.0, 0.0, 0.0))),
                mask=home / v["mask"] if v.get("mask") else None,
            )
            for v in data["views"]
        )
        b = data["background"]
        scene_from_world = np.array(data["scene_from_world"], np.float64)
        poses = np.stack([scene_from_world, *(v.world_from_cam for v in views)])
        if poses.shape != (len(views) + 1, 4, 4) or not views:
            raise ValueError("its cameras are not 4×4 poses")
        if not all(np.isfinite(a).all() for a in (arrays["table"], rf.weights, poses)):
            raise ValueError("its numbers are not all finite")
        return Scene(
            field=rf,
            views=views,
            scene_from_world=scene_from_world,
            background=(float(b[0]), float(b[1]), float(b[2])),
            has_alpha=bool(data["has_alpha"]),
            figures=_figures(data["figures"]),
            points=arrays.get("points", np.zeros((0, 3), np.float32)),
            crop=optional_array(data, "crop"),
            world_from_capture=optional_array(data, "world_from_capture"),
            up=optional_array(data, "up"),
            backdrop=_backdrop(arrays.get("backdrop")),
        )
    except (
        OSError,
        SafetensorError,
        NerfsceneError,
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
    ) as error:
        raise _damaged(folder, error) from error


def _damaged(folder: Path, error: Exception) -> NerfsceneError:
    what = f"has no {error}" if isinstance(error, KeyError) else str(error)
    return NerfsceneError(f"{folder} is damaged or incomplete ({what}); train it again with --overwrite")


def load_training(folder: Path, steps: int) -> dict[str, NDArray[Any]]:
    """The optimiser's arrays. Raises NerfsceneError where they are missing or of another moment."""
    path = folder / TRAINING_FILE
    try:
        from safetensors import safe_open

        with safe_open(path, framework="np") as handle:
            saved = int((handle.metadata() or {}).get("steps", -1))
        arrays = load_file(path)
    except (OSError, SafetensorError, ValueError) as error:
        raise NerfsceneError(
            f"{path} is missing or damaged, so training can't go on from it; start again with --overwrite"
        ) from error
    if saved < steps:
        raise NerfsceneError(f"{path} is older than the scene beside it; start again with --overwrite")
    return arrays


def with_figures(scene: Scene, **changes: Any) -> Scene:
    """The same scene with some figures replaced."""
    return replace(scene, figures=replace(scene.figures, **changes))
