"""Keeps splats within the outlines of what they lie on.

A disc stands for the surface around its middle. Near an edge, or where its normal is off, a part of it hangs
in the air beside the surface, and outlines get hairy. Pictures tell: they look through that part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from nerfscene.exporters.chunks import in_chunks
from nerfscene.exporters.looks import Look
from nerfscene.exporters.samples import OPAQUE, projected
from nerfscene.exporters.told import Told
from nerfscene.splatting.gaussians import Splats

RIM = 1.5  # standard deviations from a splat's middle at which its rim is looked at
EVERY = 2  # only each second picture is asked: enough, and half the time
SLACK = 0.015  # relative difference of depth up to which a picture shows a point and doesn't look through it
DOUBTED = 0.25  # a rim hangs if more pictures look through it than this share of those that show it
ONE_SIDE, ASIDE = 0.5, 0.5  # of its width that a splat keeps if one side hangs, and by how much it moves
BOTH_SIDES = 0.2  # of its width that it keeps if both do


def within_outlines(
    splats: Splats, taken: Sequence[Look], told: Told, threads: int = 0
) -> tuple[Splats, NDArray[np.bool_]]:
    """The splats, narrower along the axes whose ends the pictures look through, and moved to the other end.

    Their first two axes are looked at: the third is the thin one. Also returns which to keep (n,): not those
    that hang in the air with their middle and all ends.
    """
    asked = taken[::EVERY]
    depths = [np.where(a.accumulation > OPAQUE, a.z, np.float32(np.inf)).astype(np.float32) for a in asked]
    positions, scales = splats.positions.copy(), splats.scales.copy()
    keep = np.zeros(len(splats), bool)

    def trim(part: slice) -> None:
        keep[part] = ~_hanging(splats.positions[part], asked, depths)
        for axis, along in enumerate(_axes(splats.quaternions[part])):
            reach = along * splats.scales[part, axis, None]
            before = splats.positions[part]
            ahead, behind = (
                _hanging(before + side * np.float32(RIM) * reach, asked, depths) for side in (1, -1)
            )
            keep[part] |= ~(ahead & behind)
            toward = (behind & ~ahead).astype(np.float32) - (ahead & ~behind)
            positions[part] += np.float32(ASIDE) * toward[:, None] * reach
            keeps = np.where(ahead & behind, BOTH_SIDES, np.where(ahead | behind, ONE_SIDE, 1))
            scales[part, axis] *= keeps.astype(np.float32)

    in_chunks(len(splats), trim, told, "trimming outlines", threads)
    return replace(splats, positions=positions, scales=scales), keep


def _hanging(
    points: NDArray[np.float32], asked: Sequence[Look], depths: Sequence[NDArray[np.float32]]
) -> NDArray[np.bool_]:
    """Which points (n, 3) hang in the air, by the depths (h, w) of what the pictures see."""
    shown, through = np.zeros(len(points), np.int32), np.zeros(len(points), np.int32)
    for look, depth in zip(asked, depths, strict=True):
        index, column, row, z = projected(look, points)
        there = depth[row, column]
        before = z < there * np.float32(1 - SLACK)
        through[index[before]] += 1
        shown[index[~before & (z < there * np.float32(1 + SLACK))]] += 1
    hanging: NDArray[np.bool_] = through > np.maximum(DOUBTED * shown, 0.5)
    return hanging


def _axes(quaternions: NDArray[np.float32]) -> NDArray[np.float32]:
    """The first two axes (2, n, 3) of splats turned by unit quaternions (n, 4), w first."""
    w, x, y, z = quaternions.T
    first = np.stack([1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y)], 1)
    second = np.stack([2 * (x * y - w * z), 1 - 2 * (x * x + z * z), 2 * (y * z + w * x)], 1)
    return np.stack([first, second])
