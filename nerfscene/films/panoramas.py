"""What a film can make of panoramas: where one was taken, it may look in any direction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from nerfscene.cameras.cube import shots
from nerfscene.capture.folder import natural_key
from nerfscene.types import Array, View

DIRECTIONS = 8  # views all round that stand for a panorama
BETTER = 0.5  # the order of names is left if another way is shorter than this fraction of it


def all_panoramas(views: Sequence[View]) -> bool:
    """Whether every view was cut from a panorama."""
    return bool(views) and all(view.panorama is not None for view in views)


def ahead(views: Sequence[View], up: Array) -> list[View]:
    """For each panorama one level view that looks along the way from panorama to panorama; path: its file.

    The way is in the order of their names, unless that jumps about; then each panorama is followed by the one
    nearest to it. views: of panoramas alone; up: (3,), unit, in world axes.
    """
    whole = sorted(_one_each(views), key=lambda view: natural_key(str(view.path)))
    centres = np.stack([view.world_from_cam[:3, 3] for view in whole])
    near = _nearest_first(centres)
    if _length(centres[near]) < BETTER * _length(centres):
        whole = [whole[i] for i in near]
    return along_the_way(whole, up)


def along_the_way(whole: Sequence[View], up: Array) -> list[View]:
    """The views, one of each panorama, turned to look level along the way that they make in this order."""
    centres = np.stack([view.world_from_cam[:3, 3] for view in whole])
    around = np.pad(centres, ((1, 1), (0, 0)), mode="edge")
    steps = around[2:] - around[:-2]
    found: list[View] = []
    direction = whole[0].world_from_cam[:3, 2]
    for view, step in zip(whole, steps, strict=True):
        level = step - (step @ up) * up
        if np.linalg.norm(level) > 1e-3 * float(np.linalg.norm(step)) + 1e-12:
            direction = level
        found.append(replace(view, world_from_cam=_looking(view.world_from_cam[:3, 3], direction, up)))
    return found


def all_round(views: Sequence[View], up: Array) -> list[View]:
    """For each panorama DIRECTIONS level views in evenly spaced directions. views, up: as for ``ahead``."""
    found = []
    for view in _one_each(views):
        front, right = view.world_from_cam[:3, 2], view.world_from_cam[:3, 0]
        for angle in 2 * np.pi * np.arange(DIRECTIONS) / DIRECTIONS:
            direction = np.cos(angle) * front + np.sin(angle) * right
            found.append(replace(view, world_from_cam=_looking(view.world_from_cam[:3, 3], direction, up)))
    return found


def _one_each(views: Sequence[View]) -> list[View]:
    """The first view of each panorama, with the panorama's path."""
    first = {shot: view for shot, view in reversed(list(zip(shots(views), views, strict=True)))}
    return [replace(first[i], path=first[i].panorama or first[i].path) for i in sorted(first)]


def _looking(centre: Array, direction: Array, up: Array) -> Array:
    """world_from_cam (4, 4) of a level camera; direction: (3,), not along ``up`` (3,), unit."""
    z = direction - (direction @ up) * up
    if np.linalg.norm(z) < 1e-9:  # a panorama taken with the camera on its side
        z = np.eye(3)[np.abs(up).argmin()]
        z = z - (z @ up) * up
    z = z / np.linalg.norm(z)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([np.cross(z, up), -up, z], axis=1)
    pose[:3, 3] = centre
    return pose


def _length(centres: Array) -> float:
    return float(np.linalg.norm(np.diff(centres, axis=0), axis=1).sum())


def _nearest_first(centres: Array) -> list[int]:
    """The order that begins at an outermost place and always goes on to the nearest one not visited yet."""
    order = [int(np.linalg.norm(centres - centres.mean(0), axis=1).argmax())]
    while len(order) < len(centres):
        distance = np.linalg.norm(centres - centres[order[-1]], axis=1)
        distance[order] = np.inf
        order.append(int(distance.argmin()))
    return order
