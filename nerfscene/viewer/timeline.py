"""When a path's keyframes are reached, in seconds of the film, and paths with other times."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from nerfscene.types import Array
from nerfscene.viewer.key_values import stretched
from nerfscene.viewer.keyframes import Plan, eased, times_of

LEAST_STEP = 0.01  # seconds from one keyframe to the next
SHORTEST, LONGEST = 0.1, 600.0  # seconds that a film made in the page lasts


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
        return stretched(plan, max(seconds, SHORTEST))
    times = times_of(plan)
    low, high = times[index - 1] + LEAST_STEP, times[index + 1] - LEAST_STEP
    times[index] = min(max(seconds, low), max(low, high))
    return with_times(plan, times)
