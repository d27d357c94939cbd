"""A camera path from photo to photo, and paths that keep one point in the middle of the picture."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from nerfscene.errors import NerfsceneError
from nerfscene.field.rendering import Renderer, render
from nerfscene.films.moves import goes_round
from nerfscene.films.orbit import Subject, round_of, subject_of
from nerfscene.films.pacing import aimed, levelled, paced
from nerfscene.films.panoramas import along_the_way
from nerfscene.films.paths import CameraPath, interpolate
from nerfscene.films.photo_names import named, named_list
from nerfscene.films.presets import film_intrinsics
from nerfscene.loading import loading
from nerfscene.types import Array, Camera, Intrinsics, View

FINE = 48  # poses between two photos, along which the camera is paced
FAR_APART = np.radians(20)  # about the subject: between such photos, others are put into the path
MOST_POSES = 6000  # of these in all
SUBJECT = "subject"  # what stands for the photos' subject in --look-at
PROBE = 9  # pixels along a side of the small picture that finds what a photo's middle shows
PROBE_SHARE = 0.03  # of the photo's height that it spans
HIT = 0.5  # accumulation above which a pixel shows something


def through(
    names: str,
    views: Sequence[View],
    n_frames: int,
    size: tuple[int, int],
    up: Array,
    loop: bool = False,
    target: Array | None = None,
    points: Array | None = None,
) -> CameraPath:
    """A smooth path through the photos of these names, separated by commas, at constant speed.

    The camera is where each photo was taken and looks where it looks, as wide as it, but level. From
    panoramas it looks along the way. Between photos that are far apart about a subject, it goes round the
    subject, as the photos did. An open path begins and ends at rest; in sharp bends the camera slows
    down. size: (width, height), pixels. up: (3,), unit. loop: the path goes on from the last photo to the
    first. target: (3,), a point to look at all the time. points: (n, 3), the sparse model's.
    Raises NerfsceneError for names that there aren't and for fewer than two photos.
    """
    chosen = named_list(names, views)
    if loop and len(chosen) > 2 and chosen[0].path == chosen[-1].path:
        chosen = chosen[:-1]
    for one, other in itertools.pairwise(chosen):
        if one.path == other.path:
            raise NerfsceneError(f"--through gives {one.path.name} twice in a row: leave out one of them")
    if len(chosen) < 2:
        raise NerfsceneError("--through needs two photos or more, such as --through 0001.jpg,0017.jpg")
    width, height = size
    focals = np.array([film_intrinsics([view], width, height).fy for view in chosen])
    keys = [view.world_from_cam for view in chosen]
    if all(view.panorama == view.path for view in chosen):
        keys = [view.world_from_cam for view in along_the_way(chosen, up)]
    keys, focals = _round_the_subject(levelled(keys, up), focals, subject_of(views, points, up), loop)
    n_fine = min(FINE * len(keys), MOST_POSES)
    # Between two keyframes only, a loop goes to and fro.
    fine, lengths = interpolate(keys, focals, n_fine, constant_speed=len(keys) > 2, loop=loop)
    poses = _oriented(fine, target, up)
    times = paced(np.stack(poses), n_frames, loop)
    poses, lengths = interpolate(poses, lengths, n_frames, loop=loop, key_times=times)
    cameras = []
    for pose, focal in zip(_oriented(poses, target, up), lengths, strict=True):
        f = float(focal)
        cameras.append(Camera(Intrinsics(width, height, f, f, width / 2, height / 2), pose))
    return CameraPath(tuple(cameras), loop=loop)


def _round_the_subject(
    keys: list[Array], focals: Array, subject: Subject, loop: bool
) -> tuple[list[Array], Array]:
    """The keyframes and focal lengths, with others between those that are far apart about the subject.

    Between them the direction from the subject, the height above it as an angle, and the distance change
    evenly, so that the way doesn't lead through the subject; and it leads through the photographed arc.
    """
    if not goes_round(subject):
        return keys, focals
    with loading():
        from scipy.spatial.transform import Rotation, Slerp

    around = round_of(subject)
    gap = (
        0.0 if around.whole else around.begin + 0.5 * around.extent + np.pi
    )  # the middle of what no photo shows
    offsets = [key[:3, 3] - subject.focus for key in keys]
    ways = [float(np.arctan2(o @ around.e2, o @ around.e1) - gap) % (2 * np.pi) for o in offsets]
    heights = [
        float(np.arctan2(o @ subject.up, np.linalg.norm(o - (o @ subject.up) * subject.up))) for o in offsets
    ]
    made: list[Array] = []
    lengths: list[float] = []
    for i in range(len(keys)):
        made.append(keys[i])
        lengths.append(float(focals[i]))
        j = (i + 1) % len(keys)
        if j == 0 and not loop:
            break
        turn = ways[j] - ways[i]
        if around.whole:
            turn = (turn + np.pi) % (2 * np.pi) - np.pi
        count = int(np.hypot(turn, heights[j] - heights[i]) / FAR_APART)
        between = Slerp([0, 1], Rotation.from_matrix(np.stack([keys[i][:3, :3], keys[j][:3, :3]])))
        for share in np.arange(1, count + 1) / (count + 1):
            distance, height = (
                (1 - share) * values[i] + share * values[j]
                for values in (list(map(np.linalg.norm, offsets)), heights)
            )
            angle = gap + ways[i] + share * turn
            pose = keys[i].copy()
            pose[:3, :3] = between(share).as_matrix()
            flat, up = distance * np.cos(height), distance * np.sin(height)
            pose[:3, 3] = subject.focus + around.offset(angle, float(flat), float(up))
            made.append(pose)
            lengths.append(float(focals[i] ** (1 - share) * focals[j] ** share))
    return made, np.array(lengths)


def _oriented(poses: Sequence[Array], target: Array | None, up: Array) -> list[Array]:
    """The poses made level, or turned to the target if there is one."""
    return levelled(poses, up) if target is None else aimed([pose[:3, 3] for pose in poses], target, up)


def looking_at(path: CameraPath, target: Array, up: Array) -> CameraPath:
    """The same path with each camera level and turned to ``target`` (3,); up: (3,), unit.

    Raises NerfsceneError if the path leads through the target.
    """
    poses = aimed([camera.world_from_cam[:3, 3] for camera in path.cameras], target, up)
    cameras = [replace(c, world_from_cam=pose) for c, pose in zip(path.cameras, poses, strict=True)]
    return replace(path, cameras=tuple(cameras))


def point_to_look_at(
    text: str,
    views: Sequence[View],
    points: Array,
    up: Array | None,
    renderer: Renderer,
    option: str = "--look-at",
) -> Array:
    """The point (3,), world units, that --look-at means, or another ``option`` of the same kind.

    text: three numbers; ``subject``; or a photo's name, for what is in the middle of that photo.
    points: (n, 3), the sparse model's, world units. Raises NerfsceneError if there is no such point.
    """
    numbers = three_numbers(text, option)
    if numbers is not None:
        return numbers
    if text.strip().lower() == SUBJECT:
        subject = subject_of(views, points, up)
        if not goes_round(subject):
            raise NerfsceneError(
                f"these photos have no one subject: give {option} a photo's name or x,y,z instead"
            )
        return subject.focus
    view = named(text, views)
    depth = _depth_ahead(view, renderer)
    if depth is None:
        raise NerfsceneError(f"there is nothing in the middle of {view.path.name}: give another {option}")
    point: Array = view.world_from_cam[:3, 3] + depth * view.world_from_cam[:3, 2]
    return point


def three_numbers(text: str, option: str) -> Array | None:
    """Three finite numbers separated by commas; None for anything else. Raises NerfsceneError for others."""
    try:
        values = np.array([float(piece) for piece in text.split(",")])
    except ValueError:
        return None
    if len(values) == 1:  # a photo may be called 17
        return None
    if values.shape != (3,) or not (np.abs(values) < 1e30).all():
        raise NerfsceneError(f"{option} takes three finite numbers, such as 1,0.5,-2, not {text!r:.80}")
    return values


def _depth_ahead(view: View, renderer: Renderer) -> float | None:
    """How far away, along its optical axis, what a photo shows in its middle is; None for nothing."""
    k = view.intrinsics
    focal = PROBE / PROBE_SHARE * k.fy / k.height
    probe = Intrinsics(PROBE, PROBE, focal, focal, PROBE / 2, PROBE / 2)
    frame = render(renderer, Camera(probe, view.world_from_cam))
    hit = frame.accumulation > HIT
    return float(np.median(frame.depth[hit])) if hit.any() else None
