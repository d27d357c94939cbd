"""Values by key that keyframes carry: a film's tracks, taken over by the keyframes that they belong to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from nerfscene.films.tracks import Keys, focals_at, numbers_at
from nerfscene.films.tracks import stretched as tracks_stretched
from nerfscene.types import Array
from nerfscene.viewer.keyframes import CARRIED, Plan, film_seconds, times_of


def carried(plan: Plan) -> Plan:
    """The plan with those of its tracks carried by keyframes whose every key is at a keyframe's time."""
    if not plan.keyframes or not plan.tracks:
        return plan
    times, near = _times(plan), 2e-3
    keyframes, left = list(plan.keyframes), {}
    for name in CARRIED:
        keys: Keys = getattr(plan.tracks, name)
        where = [int(np.abs(times - key.time).argmin()) for key in keys]
        there = all(abs(times[i] - key.time) <= near for i, key in zip(where, keys, strict=True))
        full = name != "roll" or len(where) in (0, 1, len(keyframes))  # every keyframe has a roll
        if not there or not full or len(set(where)) < len(where):
            continue
        if name == "roll" and len(where) == 1:
            where, keys = list(range(len(keyframes))), keys * len(keyframes)
        for i, key in zip(where, keys, strict=True):
            value: Any = key.value
            keyframes[i] = replace(keyframes[i], **{name: value})
        left[name] = ()
    return replace(plan, keyframes=tuple(keyframes), tracks=replace(plan.tracks, **left))


def with_value(plan: Plan, index: int, name: str, value: Any) -> Plan:
    """The plan with one keyframe's value changed; name: one of CARRIED, or fov.

    A track of that name is first taken over by the keyframes, so that the others keep what they have.
    """
    if name == "fov":
        plan = _with_own_fov(plan)
    elif getattr(plan.tracks, name):
        plan = _sampled(plan, name)
    keys = list(plan.keyframes)
    keys[index] = replace(keys[index], **{name: value})
    return replace(plan, keyframes=tuple(keys))


def _times(plan: Plan) -> Array:
    """When each keyframe is reached in the film that has whole frames, (n,)."""
    times: Array = times_of(plan)[: len(plan.keyframes)] / plan.seconds * film_seconds(plan)
    return times


def _sampled(plan: Plan, name: str) -> Plan:
    """The plan with a track's value at each keyframe carried by that, instead of the track."""
    keys: Keys = getattr(plan.tracks, name)
    times = _times(plan)
    if name == "focus":  # names, points and distances have nothing between them
        at = [max((i for i, key in enumerate(keys) if key.time <= t + 1e-6), default=0) for t in times]
        values: list[Any] = [keys[i].value for i in at]
    else:
        values = [float(v) for v in numbers_at(keys, times, film_seconds(plan), plan.loop)]
    made = tuple(replace(k, **{name: v}) for k, v in zip(plan.keyframes, values, strict=True))
    return replace(plan, keyframes=made, tracks=replace(plan.tracks, **{name: ()}))


def _with_own_fov(plan: Plan) -> Plan:
    keys: Keys = plan.tracks.fov
    if not keys:
        return plan
    focals = focals_at(keys, _times(plan), film_seconds(plan), plan.loop, "perspective")
    focals = focals * min(plan.width, plan.height)
    fovs = np.degrees(2 * np.arctan(plan.height / 2 / focals))
    made = tuple(replace(k, fov=float(v)) for k, v in zip(plan.keyframes, fovs, strict=True))
    return replace(plan, keyframes=made, tracks=replace(plan.tracks, fov=()))


def stretched(plan: Plan, seconds: float) -> Plan:
    """The plan with a film of another length, in which all that is pulled by key keeps its place."""
    if not plan.tracks:
        return replace(plan, seconds=seconds)
    changed = replace(plan, seconds=seconds)
    tracks = tracks_stretched(plan.tracks, film_seconds(changed) / film_seconds(plan))
    return replace(changed, tracks=tracks)
