"""What the steps of posing have found so far: the best model and the matched pairs; the report at the end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from nerfscene.cameras.cube import shots
from nerfscene.capture.folder import StageListener, short_names
from nerfscene.config import PoseConfig
from nerfscene.posing import mapping, matching
from nerfscene.posing.copies import copy_index
from nerfscene.posing.mapping import Model
from nerfscene.posing.misplaced import agreement, without_misplaced
from nerfscene.posing.pairs import Pair, groups
from nerfscene.types import Photo, PoseReport

ENOUGH = 0.9  # if less than this fraction of the photos is posed, slower steps are worth it


@dataclass(frozen=True)
class Job:
    """The photos to pose, the folder to work in, and the settings."""

    folder: Path  # holds the copies of the photos in images/
    photos: tuple[Photo, ...]
    sizes: list[tuple[int, int]]  # of the copies: width, height
    config: PoseConfig
    progress: StageListener

    @cached_property
    def shots(self) -> list[int]:
        """For each photo, the number of its shot: views cut from one panorama are one."""
        return shots(self.photos)


@dataclass
class Climb:
    """What the steps so far have found. Mutable: every step updates it."""

    job: Job
    best: Model | None = None
    found_by: str = "nothing"
    models: int = 0
    tried: list[str] = field(default_factory=list)
    pairs: set[Pair] = field(default_factory=set)

    @property
    def total(self) -> int:
        """The number of photos; the views cut from a panorama count as one."""
        return max(self.job.shots) + 1

    def links(self, fewest: int = matching.FEWEST_MATCHES) -> list[Pair]:
        """Pairs of photos, by the numbers of their shots, that verified matches connect; sorted."""
        shots = self.job.shots
        pairs = ((shots[a], shots[b]) for a, b in matching.connections(self.database, fewest))
        return sorted({(min(pair), max(pair)) for pair in pairs})

    def posed(self) -> set[int]:
        """The shots that the best model poses."""
        model = self.best
        names = [] if model is None else [model.image(i).name for i in model.reg_image_ids()]
        return {self.job.shots[copy_index(name)] for name in names}

    @property
    def database(self) -> Path:
        return self.job.folder / "database.db"

    def complete(self) -> bool:
        """Whether all photos are posed."""
        return mapping.count(self.best) == self.total

    def enough(self) -> bool:
        """Whether so many photos are posed that slower steps are not worth it."""
        return mapping.count(self.best) >= ENOUGH * self.total

    def consider(self, models: list[Model], step: str, closer: float = 0.0) -> bool:
        """Keeps the best of ``models`` if it is better than the best so far; returns whether it is.

        Better means that it poses more photos, or as many with less than ``closer`` times the error.
        """
        photos, error = mapping.rank(self.best)
        # One more photo is an improvement at any error; a smaller error alone is hardly ever worth a change.
        return self._take(
            models, step, lambda count, now, _: count > photos or (count == photos and now < closer * -error)
        )

    def consider_fitting(self, models: list[Model], step: str) -> bool:
        """Keeps the best of ``models`` if it poses no fewer photos and more of their matches fit it.

        Returns whether it does.
        """
        assert self.best is not None
        photos, fits = mapping.count(self.best), agreement(self.best, self.database)
        return self._take(
            models, step, lambda count, _, model: count >= photos and agreement(model, self.database) > fits
        )

    def _take(self, models: list[Model], step: str, better: Callable[[int, float, Model], bool]) -> bool:
        """Keeps the best of ``models`` if ``better`` says so of its number of photos, its error and itself.

        Misplaced photos and implausible models are removed first, and models that agree are merged.
        """
        self.tried.append(step)
        placed = [without_misplaced(model, self.database) for model in models]
        plausible = [model for model in map(mapping.believable, placed) if model is not None]
        for model in mapping.joined(plausible)[:1]:
            count, error = mapping.rank(model)
            if better(count, -error, model):
                self.best, self.found_by, self.models = model, step, len(models)
                return True
        return False


def report(state: Climb) -> PoseReport:
    """How the poses were found, and what they are like."""
    links, posed, model = state.links(), state.posed(), state.best
    shots = state.job.shots
    names = short_names(list(dict.fromkeys(photo.panorama or photo.path for photo in state.job.photos)))
    compared = {(shots[a], shots[b]) for a, b in state.pairs}
    apart = [group for group in groups(state.total, links) if not posed & set(group)]
    return PoseReport(
        found_by=state.found_by,
        tried=tuple(dict.fromkeys(state.tried)),
        photos_posed=len(posed),
        models=state.models,
        pairs_compared=len({(min(pair), max(pair)) for pair in compared}),
        pairs_connected=len(links),
        points=0 if model is None else len(model.points3D),
        observations=0 if model is None else int(model.compute_num_observations()),
        track_length=0.0 if model is None else float(model.compute_mean_track_length()),
        reprojection_error=0.0 if model is None else float(model.compute_mean_reprojection_error()),
        apart=tuple(tuple(names[i] for i in group) for group in apart),
        agreement=None if model is None else agreement(model, state.database),
    )
