"""The coordinates that a scene's exports have in other programs, and cameras that were placed there.

A path made in SuperSplat or Blender about an export of a scene is in that export's coordinates, as the
program shows them:

- SuperSplat and its viewer turn splats from .ply, .spz and .sog files by half a turn about z, so that +y is
  up (SuperSplat 2.32: splat-transform's ``Transform.PLY``; supersplat-viewer 1.28: ``src/index.ts``). An
  upright place (x, y, z), whose z is up, is (x, -z, y) in these files, and so (-x, z, y) in SuperSplat.
- A glTF file has +y up: (x, z, -y). Blender turns that back when it imports one, and again when it exports.
- Blender's own coordinates are those of the upright world.

An export with ``--world capture`` has the coordinates in which the cameras came, and is turned by
SuperSplat and Blender all the same. Nothing in a path's file says which world it was. So the upright one is
taken unless only another one has the path among the photos.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nerfscene.cameras.algebra import pose_in_scene, rotation_to_z, similarity_scale
from nerfscene.films.orbit import subject_of
from nerfscene.films.path_fit import cameras_in_place, turned_from_photos
from nerfscene.scene.scene import Scene
from nerfscene.types import Array

# (4, 4): from a world whose +z is up to one whose +y is up and whose -z leads forward, as glTF and USD have.
Y_UP_FROM_Z_UP: Array = np.array(
    [[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, -1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
)
# (4, 4): from a world whose +z is up to one whose +y is down, by a quarter turn, as splat files have.
Y_DOWN_FROM_Z_UP: Array = np.array(
    [[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, -1.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
)
SUPERSPLAT_FROM_FILE: Array = np.diag([-1.0, -1.0, 1.0, 1.0])  # how SuperSplat shows a splat file
USUAL_SIDES = (0.2, 200.0)  # world units: a subject's box within these needs no other scale
USUAL_SIDE = 2.0  # of a subject's box whose scale means nothing
ENOUGH = 0.5  # of a path's cameras must be near photos, or its coordinates are doubted
# Of two ways to read a path, the second is right if it turns cameras by less than so many degrees from the
# photos, and the first by so many times more.
ALIKE, CLEARLY = 40.0, 2.0


@dataclass(frozen=True)
class Way:
    """One way to read a path's coordinates: world_from_file (4, 4), and what that means, as a clause."""

    world_from_file: Array
    meaning: str


def upright_from_world(scene: Scene) -> Array:
    """The similarity (4, 4) from a scene's world to the upright one in which it is exported.

    That is the world as set in the viewer. If none was set, +z is up, the subject's middle is the origin,
    and a unit is as long as in the capture, or, where that means nothing, such that the subject's box is 2
    wide.
    """
    if scene.world_from_capture is not None:
        return np.eye(4)
    world_from_scene = np.linalg.inv(scene.scene_from_world)
    middle = world_from_scene[:3, 3]  # of the box that training put around the subject
    points: Array = scene.points @ world_from_scene[:3, :3].T + middle
    subject = subject_of(scene.views, points, scene.up)
    side = 2.0 / similarity_scale(scene.scene_from_world)
    usual = USUAL_SIDES[0] <= side <= USUAL_SIDES[1]
    scale = 1.0 if usual and scene.figures.source != "photos" else USUAL_SIDE / side
    upright = np.eye(4)
    upright[:3, :3] = scale * rotation_to_z(subject.up)
    upright[:3, 3] = -upright[:3, :3] @ middle
    return upright


def ways_of(
    scene: Scene | None, file_from_upright: Sequence[Array], file_from_capture: Sequence[Array]
) -> list[Way]:
    """The ways to read coordinates that an upright world, or else the capture's, became in a file.

    The first of ``file_from_upright`` is the usual one. Without a scene, the upright world is the world.
    """
    if scene is None:
        return [Way(np.asarray(np.linalg.inv(file_from_upright[0])), "of the scene as it is exported")]
    ways = []
    for turned in file_from_upright:
        from_upright = np.linalg.inv(turned @ upright_from_world(scene))
        ways.append(Way(np.asarray(from_upright), "of the scene as it is exported, with other axes up"))
    given = np.eye(4) if scene.world_from_capture is None else scene.world_from_capture
    for turned in file_from_capture:
        ways.append(Way(np.asarray(given @ np.linalg.inv(turned)), "of an export with --world capture"))
    return ways


def chosen(
    poses: Sequence[Array], ways: Sequence[Way], scene: Scene | None, file: Path, program: str
) -> tuple[Array, tuple[str, ...]]:
    """(world_from_file (4, 4), sentences): the first way, unless another clearly fits the photos better."""
    if scene is None:
        return ways[0].world_from_file, ()
    n, fits = len(poses), [_fit(poses, way.world_from_file, scene) for way in ways]
    best = max(range(len(ways)), key=lambda i: (fits[i][0], -fits[i][1]))
    (first, turned), (there, least) = fits[0], fits[best]
    better = there > first if first < ENOUGH * n else there >= first and turned > CLEARLY * least
    if best and better and there >= ENOUGH * n and least < ALIKE:
        meaning = ways[best].meaning
        text = f"{file}: its coordinates are read as those {meaning}, because then it fits the photos."
        return ways[best].world_from_file, (text,)
    if first >= ENOUGH * n:
        return ways[0].world_from_file, ()
    return ways[0].world_from_file, (
        f"{file} leads through places that no photo stands near ({n - first} of its {n} cameras). It is "
        f"read as made in {program} about an export of this scene, whose world must not have changed since.",
    )


def _fit(poses: Sequence[Array], world_from_file: Array, scene: Scene) -> tuple[int, float]:
    """(how many poses (4, 4) stand where photos do, by how many degrees they are turned from the photos)."""
    placed = [pose_in_scene(world_from_file, pose) for pose in poses]
    box = 1 / similarity_scale(scene.scene_from_world)
    return cameras_in_place(placed, scene.views, box), turned_from_photos(placed, scene.views)
