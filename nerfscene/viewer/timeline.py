"""When a path's keyframes are reached, in seconds of the film, and paths with other times."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from nerfscene.types import Array
from nerfscene.viewer.keyframes import Plan, cameras, eased, steps_of

LEAST_STEP = 0.01  # seconds from one keyframe to the next
SHORTEST, LONGEST = 0.1, 600.0  # seconds that a film made in the page lasts
FINE = 64  # cameras a keyframe, among which those of keyframes are looked for


def times_of(plan: Plan) -> Array:
    """When each keyframe is reached, seconds (n,); in a loop also when the first is again, (n + 1,)."""
    n = len(plan.keyframes)
    if n < 2:
        return np.zeros(n)
    if plan.constant_speed:
        shares = _arrivals(plan)
    else:
        shares = np.append(0.0, np.cumsum(steps_of(plan))) / sum(steps_of(plan))
    fine = np.linspace(0, 1, 2001)
    times: Array = plan.seconds * np.interp(shares, eased(plan, fine), fine)
    return times


def with_times(plan: Plan, times: Array) -> Plan:
    """The plan with keyframes reached at these times, as ``times_of`` gives them, in order.

    Both ends stay where they are, and steps are at least LEAST_STEP long, or as long as fits. The plan no
    longer has constant speed.
    """
    n, least = len(times), min(LEAST_STEP, plan.seconds / (2 * len(times)))
    order = np.arange(n)
    shifted = np.maximum.accumulate(np.clip(np.asarray(times, float) - least * order, 0, None))
    kept = np.minimum(shifted, plan.seconds - least * (n - 1)) + least * order
    kept[0], kept[-1] = 0.0, plan.seconds
    steps = np.diff(plan.seconds * eased(plan, kept / plan.seconds))
    back = steps[-1] if plan.loop else plan.keyframes[0].time
    every = [back, *steps[: len(plan.keyframes) - 1]]
    keys = tuple(replace(k, time=float(step)) for k, step in zip(plan.keyframes, every, strict=True))
    return replace(plan, keyframes=keys, constant_speed=False)


def moved_in_time(plan: Plan, index: int, seconds: float) -> Plan:
    """The plan with one keyframe reached at another time, between its neighbours'.

    The first stays at 0. The last one of a path that isn't a loop makes the whole film longer or shorter.
    """
    if index == 0 or len(plan.keyframes) < 2:
        return plan
    if index == len(plan.keyframes) - 1 and not plan.loop:
        return replace(plan, seconds=max(seconds, SHORTEST))
    times = times_of(plan)
    low, high = times[index - 1] + LEAST_STEP, times[index + 1] - LEAST_STEP
    times[index] = min(max(seconds, low), max(low, high))
    return with_times(plan, times)


def _arrivals(plan: Plan) -> Array:
    """The shares of the way, of equal speed, at which keyframes are reached, as in ``times_of``."""
    n = len(plan.keyframes)
    even = replace(plan, easing="none", look_at=None)
    count = FINE * n + 1
    along = np.stack([c.world_from_cam for c in cameras(even, count).cameras])
    keys = np.stack([k.world_from_cam for k in plan.keyframes])
    extent = max(float(np.ptp(along[:, :3, 3], axis=0).max()), 1e-9)
    found, first = [0], 0
    for i in range(1, n):
        last = count - (n - i) + plan.loop  # the later ones need their places too
        off = np.linalg.norm(along[first + 1 : last, :3, 3] - keys[i, :3, 3], axis=1) / extent
        off += np.linalg.norm(along[first + 1 : last, :3, :3] - keys[i, :3, :3], axis=(1, 2)) / 4
        near = np.flatnonzero(off <= off.min() + 2 / FINE)
        # A path may come back to the same place later: the first time counts.
        end = near[0]
        while end + 1 < len(off) and off[end + 1] < off[end]:
            end += 1
        first = first + 1 + int(end)
        found.append(first)
    shares = np.array(found) / (count if plan.loop else count - 1)
    if plan.loop:
        return np.append(shares, 1.0)
    shares[-1] = 1.0
    return shares
