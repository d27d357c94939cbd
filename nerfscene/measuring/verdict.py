"""What a scene looks like, why, and the one next thing to do: in sentences, from its figures. Pure functions.

The bounds are from contact sheets of some twenty trainings that were looked at beside their figures; see
"What the figures look like" in docs/benchmarks.md. Only the standard library is needed, because the server's
pages use it too.
"""

from __future__ import annotations

from dataclasses import dataclass

# (FLIP below which it is so, what that looks like), best first. FLIP agrees with eyes where PSNR doesn't: a
# soft scene of smooth things has a high PSNR, and a good one of bark and leaves a low one.
LOOKS = (
    (0.08, "very clear: hard to tell from a photo"),
    (0.13, "clear"),
    (0.18, "good, soft in places"),
    (0.32, "soft: shapes are right, details are missing"),
    (float("inf"), "rough"),
)
# The same by PSNR (dB, at least), for scenes of older versions.
LOOKS_BY_PSNR = ((32.0, 0), (28.0, 1), (24.0, 2), (18.5, 3), (-float("inf"), 4))
GOOD_ENOUGH = 2  # looks before this one need no reason
BY_HEART = 2.2  # dB by which training photos may be closer than held-out ones
BRIGHTNESS = 1.0  # dB that the held-out photos' own exposures and cameras may cost
STOPS = 0.7  # of exposure between the brightest and the darkest photo, from which on they differ
MISPLACED = 0.0015  # reprojection error as a share of the photos' longer side
MISFIT = 0.8  # share of the matches that fit their cameras, below which some may be wrong
UNPOSED = 0.15  # share of the photos that may lack a camera
PASSES = 2.0  # times that training has seen each pixel, from which on more hardly helps


@dataclass(frozen=True)
class Facts:
    """What is known about a scene; None for what was not measured.

    psnr, psnr_matched: dB; flip, flip_matched: 0…1; all of held-out photos, see ``measuring.evaluate``
    trained: PSNR of the training photos at the end of training, dB
    passes: how often each of their pixels was trained on
    photos, posed: given, and those with a camera
    misplaced: reprojection error as a share of the photos' longer side
    agreement: share of the matches that fit their cameras
    stops: of exposure, between the brightest and the darkest photo
    """

    psnr: float
    psnr_matched: float | None = None
    flip: float | None = None
    flip_matched: float | None = None
    trained: float | None = None
    passes: float = 0.0
    photos: int = 0
    posed: int = 0
    misplaced: float | None = None
    agreement: float | None = None
    stops: float = 0.0


@dataclass(frozen=True)
class Verdict:
    """How a scene looks, in words that complete "the scene is"; why, and what to do next, as sentences.

    reason, then: "" where nothing is to be said.
    """

    looks: str
    reason: str = ""
    then: str = ""

    def __str__(self) -> str:
        return " ".join(s for s in (f"{self.looks}.", self.reason, self.then) if s)


def looks_of(psnr: float, flip: float | None) -> int:
    """Which of LOOKS it is; by PSNR where FLIP was not measured."""
    if flip is None:
        return next(number for least, number in LOOKS_BY_PSNR if psnr >= least)
    return next(number for number, (bound, _) in enumerate(LOOKS) if flip < bound)


def judged(f: Facts) -> Verdict:
    """What the facts say. Photos' own exposures and cameras don't count for how a scene looks."""
    matched = f.psnr if f.psnr_matched is None else f.psnr_matched
    look = looks_of(max(f.psnr, matched), f.flip if f.flip_matched is None else f.flip_matched)
    words = LOOKS[look][1]
    by_heart = 0.0 if f.trained is None else f.trained - matched
    if look >= GOOD_ENOUGH:
        if by_heart >= BY_HEART:
            return Verdict(words, *learned_by_heart(f, by_heart))
        if cameras_doubtful(f):
            return Verdict(words, *doubtful_cameras(f))
    if matched - f.psnr >= BRIGHTNESS:
        return Verdict(words, *set_apart(f, matched))
    if look < GOOD_ENOUGH:
        return Verdict(words)
    if f.passes < PASSES:
        return Verdict(
            words,
            "It was still getting better when training ended.",
            "Train it longer: --resume with --quality 20min or best goes on from here.",
        )
    return Verdict(
        words,
        "The cameras fit, and yet no scene agrees with all photos: something moved, or photos are blurred.",
        "Keep people and animals out, hold still for each photo, and mask what moves.",
    )


def learned_by_heart(f: Facts, by_heart: float) -> tuple[str, str]:
    """For photos that are right while places between them are guessed."""
    return (
        f"The photos that it learned from are {by_heart:.1f} dB better: what lies between them is guessed.",
        f"Take more photos: {max(2 * f.posed, 30)} instead of {f.posed}, half as far from each other.",
    )


def cameras_doubtful(f: Facts) -> bool:
    """Whether cameras may be wrong: they don't fit the photos, or many photos have none."""
    return (
        (f.misplaced is not None and f.misplaced >= MISPLACED)
        or (f.agreement is not None and f.agreement < MISFIT)
        or f.posed < (1 - UNPOSED) * f.photos
    )


def doubtful_cameras(f: Facts) -> tuple[str, str]:
    """For photos that were taken from elsewhere than where they are thought to be."""
    if f.posed < (1 - UNPOSED) * f.photos:
        return (
            f"For {f.photos - f.posed} of {f.photos} photos no camera was found.",
            "Take more photos in between, each showing most of what the one before shows.",
        )
    return (
        "Photos don't agree on where they were taken.",
        "Train again from the photos alone, without cameras that came with them. If there were none, take "
        "the photos closer to each other, with one zoom.",
    )


def set_apart(f: Facts, matched: float) -> tuple[str, str]:
    """For figures that are worse than the scene looks."""
    gain = f"{matched:.1f} dB instead of {f.psnr:.1f} without that."
    if f.stops >= STOPS:
        return (
            f"Photos differ in brightness, which lowers the figures and not the looks: {gain}",
            "Lock the exposure next time.",
        )
    return (
        f"The held-out photos' cameras are a little off, which lowers the figures and not the looks: {gain}",
        "",
    )
