"""Advice for the photographer: what the photos of a scene lack, as sentences. Pure functions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nerfscene.cameras.algebra import (
    look_one_way,
    looked_at,
    nearest_point_to_axes,
    pose_in_scene,
    walks_ahead,
)
from nerfscene.capture.folder import NAMES_SHOWN, name_some, natural_key
from nerfscene.films.orbit import photographed_arc
from nerfscene.films.panoramas import all_panoramas
from nerfscene.measuring.metrics import stops_between
from nerfscene.measuring.verdict import MISFIT, MISPLACED, STOPS, Facts, Verdict, judged
from nerfscene.scene.folder import Figures, Scene
from nerfscene.types import Array

FEW_PHOTOS = 20
FEW_PANORAMAS = 12
WIDE_GAP = 50.0  # degrees between neighbouring photos round the subject
ROUND = 150.0  # degrees: photos over a wider arc were perhaps meant to go all the way round
SAME_HEIGHT = 6.0  # degrees of elevation, standard deviation
FAR_BELOW = 4.0  # dB below the median view
ON_THE_SPOT = 0.6  # spread of the cameras, in distances of what they see, when walking about a room
LONELY = 2.0  # times the usual distance to the nearest training photo


def verdict(scene: Scene) -> Verdict | None:
    """What the scene looks like, why, and what to do next; None if no photo was held out to measure."""
    f = scene.figures
    if f.psnr is None:
        return None
    train = [v.intrinsics for v in scene.views if v.split == "train"]
    pixels = sum(k.width * k.height for k in train)
    end = [h["psnr"] for h in f.history[-3:]]
    side = f.reprojection_side(scene.views[0].intrinsics)
    return judged(
        Facts(
            psnr=f.psnr,
            psnr_matched=f.psnr_matched,
            flip=f.flip,
            flip_matched=f.flip_matched,
            trained=float(np.mean(end)) if end else None,
            passes=f.rays / max(pixels, 1),
            photos=f.photos,
            posed=f.photos_posed,
            misplaced=None if f.reprojection_error is None else f.reprojection_error / side,
            agreement=(f.posing or {}).get("agreement"),
            stops=stops_between(np.array([v.exposure for v in scene.views])),
        )
    )


def advice(scene: Scene) -> list[str]:
    """Sentences for the person who took the photos, the most important first; [] if nothing is wrong."""
    f = scene.figures
    centres, axes = standing(scene)
    whole = all_panoramas(scene.views)
    walked = [  # panoramas show every direction
        *about_sides(centres, axes, [v.path.name for v in scene.views]),
        *about_heights(centres, axes),
        *about_walking(centres, axes, scene.points),
    ]
    found = [
        *about_left_out(f, [(v.panorama or v.path).name for v in scene.views]),
        *about_number(f, whole),
        *([] if whole else walked),
        *about_exposure(np.array([v.exposure for v in scene.views])),
        *about_agreement(f),
        *about_poses(f, max(max(v.intrinsics.width, v.intrinsics.height) for v in scene.views)),
        *about_bad_views(scene, centres),
    ]
    return found


def standing(scene: Scene) -> tuple[Array, Array]:
    """The cameras' (centres, axes), (n, 3) each, in scene coordinates: the subject at 0, +z up."""
    poses = np.stack([pose_in_scene(scene.scene_from_world, v.world_from_cam) for v in scene.views])
    return poses[:, :3, 3], poses[:, :3, 2]


# Kinds of reasons for leaving a photo out: (how the reason begins, the phrase for one photo, the phrase for
# several, what to do).
KINDS = (
    (
        ("is blurred",),
        "is blurred",
        "are blurred",
        "Hold still while you take each photo, or take more light.",
    ),
    (("is the same picture",), "is a duplicate", "are duplicates", "One of each is enough."),
    (("can't be read",), "can't be read", "can't be read", "Copy them again from the camera or the phone."),
    (
        ("could not be connected", "shows nothing", "is one of a group"),
        "does not connect to the others",
        "do not connect to the others",
        "Take photos in between, each showing most of what the one before shows.",
    ),
)


def about_left_out(f: Figures, used: Sequence[str] = ()) -> list[str]:
    """Photos left out, grouped by the kind of reason; ``used``: names of the photos that were used."""
    kinds: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for photo in f.left_out:
        reason = photo["reason"]
        known = (k[1:] for k in KINDS if reason.startswith(k[0]))
        kinds[next(known, (reason, reason, ""))].append(photo["name"])
    all_names = [photo["name"] for photo in f.left_out] + list(used)
    sentences = []
    for (one, several, hint), names in sorted(kinds.items(), key=lambda item: -len(item[1])):
        named = name_runs(names, all_names)
        if one == several and not hint:
            count = "1 photo was" if len(names) == 1 else f"{len(names)} photos were"
            sentences.append(f"{count} left out ({named}): {one}.")
        else:
            photos = f"1 photo {one}" if len(names) == 1 else f"{len(names)} photos {several}"
            sentences.append(f"{photos} ({named}). {hint}")
    return sentences


def name_runs(names: Sequence[str], all_names: Sequence[str]) -> str:
    """Names as text in natural order; three or more in a row among ``all_names`` become "first to last".

    Names with folders are not joined like this, because other folders may lie between them.
    """
    order = {name: i for i, name in enumerate(sorted(set(all_names), key=natural_key))}
    in_folders = any("/" in name for name in all_names)
    runs: list[list[str]] = []
    for name in sorted(names, key=natural_key):
        if runs and not in_folders and order[name] == order[runs[-1][-1]] + 1:
            runs[-1].append(name)
        else:
            runs.append([name])
    parts: list[list[str]] = []
    for run in runs:
        parts += [run] if len(run) >= 3 else [[name] for name in run]
    shown = ", ".join(p[0] if len(p) == 1 else f"{p[0]} to {p[-1]}" for p in parts[:NAMES_SHOWN])
    rest = sum(map(len, parts[NAMES_SHOWN:]))
    return shown + f" and {rest} more" * bool(rest)


def about_number(f: Figures, panoramas: bool = False) -> list[str]:
    """A sentence if there are few photos. panoramas: whether they are panoramas, of which fewer will do."""
    if panoramas:
        few = f"The scene is made of {f.photos_posed} panoramas. With 15 to 40 it would be clearer."
        return [few] if f.photos_posed < FEW_PANORAMAS else []
    if 0 < f.photos_posed < FEW_PHOTOS:
        return [
            f"The scene is made of {f.photos_posed} photos. With 30 to 100 it would be clearer, and look "
            "right from more sides."
        ]
    return []


def _inward(centres: Array, axes: Array) -> bool:
    """Whether most cameras look towards the subject."""
    return bool(np.median((-centres * axes).sum(1)) > 0)


def about_sides(centres: Array, axes: Array, names: Sequence[str]) -> list[str]:
    """A sentence if a side is missing round the subject. centres, axes: (n, 3), scene coordinates."""
    if len(centres) < 5 or not _inward(centres, axes):
        return []
    angles = np.degrees(np.arctan2(centres[:, 1], centres[:, 0])) % 360
    order = np.argsort(angles, kind="stable")
    gaps = np.diff(np.append(angles[order], angles[order[0]] + 360))
    widest = int(gaps.argmax())
    if 360 - gaps[widest] < ROUND or gaps[widest] < WIDE_GAP:
        return []
    one, other = (names[order[i % len(order)]] for i in (widest, widest + 1))
    return [
        f"No photo shows the side between {one} and {other}: {gaps[widest]:.0f}° of the way round are "
        "missing. Take some photos from there to close the circle."
    ]


def about_heights(centres: Array, axes: Array) -> list[str]:
    """A sentence if all photos round the subject are from one height. centres, axes: (n, 3)."""
    if len(centres) < 12 or not _inward(centres, axes):
        return []
    flat = np.linalg.norm(centres[:, :2], axis=1)
    elevation = np.degrees(np.arctan2(centres[:, 2], np.maximum(flat, 1e-9)))
    _, extent = photographed_arc(np.arctan2(centres[:, 1], centres[:, 0]))
    if np.degrees(extent) < 90 or elevation.std() > SAME_HEIGHT:
        return []
    return [
        "All photos are from about the same height. A second round from higher up or lower down would show "
        "what is hidden now."
    ]


def about_walking(centres: Array, axes: Array, points: NDArray[np.floating]) -> list[str]:
    """A sentence if the photographer turned on the spot or walked straight ahead.

    centres, axes: (n, 3), points: (m, 3), scene coordinates.
    """
    if walks_ahead(centres, axes):
        return [
            "The photos look in the direction that you walked, so few show what is to the sides. Walk it "
            "again, looking to one side and then to the other."
        ]
    if len(points) == 0 or look_one_way(axes):  # along a front, axes hardly show what they look at
        return []
    if looked_at(centres, axes, nearest_point_to_axes(centres, axes)):
        return []
    spread = np.sqrt(((centres - centres.mean(0)) ** 2).sum(1).mean())
    distance = np.median(np.linalg.norm(points - np.median(centres, axis=0), axis=1))
    if spread > ON_THE_SPOT * distance:
        return []
    return [
        "The photos look outwards from about one place. Turning on the spot hardly shows how far away things "
        "are: walk along the walls and look across the room, stepping aside between photos."
    ]


def about_exposure(exposures: Array) -> list[str]:
    """A sentence if the exposure varies. exposures: (n, 3), logarithms of gains of display values."""
    stops = stops_between(exposures)
    if stops < STOPS:
        return []
    return [
        f"The exposure changes by about {stops:.1f} stops from photo to photo. The scene is shown at that of "
        "the brightest photo that is well exposed, and --exposure makes films brighter or darker. A "
        "locked exposure (on a phone: keep a finger on the picture until the lock shows) keeps more detail."
    ]


def about_poses(f: Figures, trained_side: int) -> list[str]:
    """A sentence if camera poses are inexact. trained_side: longer side of the training photos, pixels."""
    if f.reprojection_error is None:
        return []
    side = f.reprojection_size or round(trained_side * f.downscale)
    if f.reprojection_error < MISPLACED * side:
        return []
    return [
        f"The camera poses are only accurate to {f.reprojection_error:.1f} pixels (of photos at {side:,}). "
        "Things that move, zooming and a rolling shutter cause this: don't zoom, and keep people and animals "
        "out of the photos."
    ]


def about_agreement(f: Figures) -> list[str]:
    """A sentence if many matches between photos disagree with the camera poses."""
    share = (f.posing or {}).get("agreement")
    if share is None or share >= MISFIT:
        return []
    return [
        f"Only {100 * share:.0f} % of what the photos have in common fits the estimated camera poses: some "
        "poses may be wrong. Things that look alike or repeat, and mirrors, cause this: take more photos, "
        "closer to each other, with something in them that exists only once."
    ]


def about_bad_views(scene: Scene, centres: Array) -> list[str]:
    """A sentence that names held-out photos far worse than the median, and hints if few were taken near.

    centres: (n, 3), of all views.
    """
    per_view = scene.figures.per_view
    if len(per_view) < 4:
        return []
    median = float(np.median([v["psnr"] for v in per_view]))
    bad = sorted((v for v in per_view if v["psnr"] < median - FAR_BELOW), key=lambda v: v["psnr"])
    if not bad:
        return []
    train = centres[[v.split == "train" for v in scene.views]]
    nearest = {
        v.path.name: float(np.linalg.norm(train - c, axis=1).min())
        for v, c in zip(scene.views, centres, strict=True)
        if v.split == "test"
    }
    usual = float(np.median(list(nearest.values())))
    names = [str(v["photo"]) for v in bad]
    lonely = [n for n in names if nearest.get(n.rsplit("/", 1)[-1], 0.0) > LONELY * usual]
    why = " Few photos were taken near there: take more." if lonely else ""
    were = "was" if len(bad) == 1 else "were"
    return [f"From where {name_some(names)} {were} taken, the scene looks poor.{why}"]
