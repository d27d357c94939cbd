"""Posed capture → scene: one visible loop around the kernels' fused step."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nerfscene.scene.folder import folder as scenes
from nerfscene.field.backdrop import guessed
from nerfscene.config import FieldConfig, TrainConfig
from nerfscene.training.dataset import TrainingSet, prepare
from nerfscene.errors import NerfsceneError
from nerfscene.measure.evaluate import Seen, measure, unseen
from nerfscene.field.hash_grid import RadianceField, kernel_field, layer_shapes, new_field, resolve, transposed
from nerfscene.ops import backend
from nerfscene.capture.photos import FILM_DIAGONAL
from nerfscene.field.refinement import (
    CAMERA_GRADIENT,
    CameraFit,
    give_up,
    kernel_cameras,
    moved,
    neighbours,
    neighbours_changes,
    pixels_moved,
    refined_lens,
    refined_views,
    standing,
    start_fit,
    turned,
    update,
)
from nerfscene.scene.folder import Figures, Scene
from nerfscene.types import Array, PosedCapture, View
from nerfscene.scene.world import keeping, kept

QUALITIES = {"1min": (60.0, 640), "5min": (300.0, 1000), "20min": (1200.0, 1600)}
SLICE = 0.25  # seconds the kernels run between looks at the clock, the progress and Ctrl-C
SAVE_EVERY = 30.0  # seconds of training that a crash can lose


@dataclass(frozen=True)
class Progress:
    """Where the work stands; sent a few times a second.

    ``fraction`` of this stage in 0…1; the rest is set while training: loss is the mean squared error
    of recent rays, ``psnr`` its decibels, ``rate`` trained samples a second, ``remaining`` seconds,
    ``seconds`` those spent.
    """

    stage: str
    fraction: float
    step: int = 0
    loss: float = 0.0
    psnr: float = 0.0
    rate: float = 0.0
    remaining: float = 0.0
    seconds: float = 0.0


Listener = Callable[[Progress], None]


@dataclass
class Control:
    """What others may ask of a training under way, from any thread; looked at a few times a second.

    ``started`` is called with the scene before the first step; it shares the arrays being trained.
    ``measured`` gets every held-out view at the end, as evaluate.measure's ``seen``.
    """

    started: Callable[[Scene], None] = lambda scene: None
    measured: Seen = unseen
    pause: bool = False
    stop: bool = False
    save: bool = False


def silent(progress: Progress) -> None:
    """The Listener that says nothing."""


@dataclass
class Run:
    """A training run's arrays: the field, and what the optimiser keeps besides."""

    field: RadianceField
    master: NDArray[np.float32]  # (rows, features)
    table_moments: NDArray[np.float32]  # (rows, 2, features)
    weight_moments: NDArray[np.float32]  # (2 · weights,)
    occupancy_values: NDArray[np.float32]  # (cells,)
    exposures: NDArray[np.float32]  # (training photos, 3): logarithms of gains
    exposure_moments: NDArray[np.float32]  # (training photos, 2, 3)
    cameras: CameraFit | None = None  # None: they stay where they are
    trainer: Any = None
    seconds: float = 0.0
    steps: int = 0
    rays: int = 0
    samples: int = 0
    history: tuple[dict[str, float], ...] = ()
    tried: bool = False  # whether it was decided if the photos' exposures matter
    refined: bool = False  # and if their cameras do


def downscale_for(posed: PosedCapture, config: TrainConfig) -> float:
    """By how much photos are shrunk: as asked, or to the quality's longest side."""
    if config.downscale is not None:
        return max(config.downscale, 1.0)
    longest = max(max(v.intrinsics.width, v.intrinsics.height) for v in posed.views)
    return max(longest / QUALITIES[config.quality][1], 1.0)


def check_config(config: TrainConfig) -> None:
    """Raises NerfsceneError, naming the option, for a number that makes no sense."""
    c = config
    checks = [
        ("--time", c.time, c.time is None or 0 < c.time < math.inf, "a number of seconds above 0"),
        ("--steps", c.steps, c.steps is None or c.steps > 0, "a number above 0"),
        ("--downscale", c.downscale, c.downscale is None or 1 <= c.downscale < math.inf, "1 or more"),
        ("--holdout", c.holdout, c.holdout == 0 or c.holdout > 1, "2 or more, or 0 for none"),
        ("--threads", c.threads, 0 <= c.threads <= 1024, "1 to 1024, or 0 for all"),
        ("--seed", c.seed, 0 <= c.seed < 2**32, "0 to 4294967295"),
    ]
    for name, value, ok, wanted in checks:
        if not ok:
            raise NerfsceneError(f"{name} must be {wanted}, not {value:g}")


def budget(config: TrainConfig) -> tuple[float, int | None]:
    """Seconds and steps that training may take."""
    if config.steps is not None:
        return config.time or math.inf, config.steps
    return config.time or QUALITIES[config.quality][0], None


def fraction_done(run: Run, config: TrainConfig) -> float:
    """How much of the budget is spent, 0…1; schedules are written in it."""
    seconds, steps = budget(config)
    spent = run.seconds / seconds if math.isfinite(seconds) else 0.0
    return min(max(spent, run.steps / steps if steps else 0.0), 1.0)


def options_at(done: float, unbounded: bool, module: Any) -> Any:
    """The step's settings when ``done`` of the budget is spent.

    The learning rate falls exponentially to 2 %, and with it the table's pull towards zero. Unbounded scenes
    start with coarse steps: while all of space is fog, fine ones cost much and tell little; and with little
    loss against fog, which would make an early guess of what is where a wall.
    """
    o = module.TrainOptions()
    o.table_rate = 3e-2 * 0.02**done
    o.weight_rate = 0.5 * o.table_rate
    o.beta1, o.beta2, o.epsilon = 0.9, 0.99, 1e-15
    o.table_pull = 6e-7 * 0.02**done
    # Samples that weigh less are not trained: the rays that they would cost tell more than they do.
    o.min_weight, o.stop_transmittance = 1e-3, 1e-3
    o.coarseness = max(1.0, 8.0 ** (1.0 - done / 0.3)) if unbounded else 1.0
    o.huber_delta = 0.1
    o.distortion = 0.012 * min(0.25 + 2 * done, 1.0) if unbounded else 0.0
    o.full_gradient_distance = 0.0
    o.target_samples = 8192 if unbounded else 4096
    o.occupancy_decay, o.occupancy_threshold = 0.97, OCCUPANCY_THRESHOLD
    o.occupancy_every, o.occupancy_cells = 16, 2048
    # Cut-outs come from renderers and studios, whose exposure is one; a learned one would only follow noise.
    o.exposure_rate = EXPOSURE_RATE * 0.02**done if unbounded else 0.0
    o.exposure_pull = EXPOSURE_PULL
    o.sky_pull, o.sky_distance = (SKY_PULL if unbounded else 0.0), SKY_DISTANCE
    o.depth_pull, o.depth_slack, o.depth_most = DEPTH_PULL * DEPTH_FALL**done, DEPTH_SLACK, DEPTH_MOST
    if backend.on_gpu(module):  # smaller steps would leave most of the card idle
        o.target_samples, o.occupancy_cells = 1 << 18, 1 << 16
    return o


OCCUPANCY_THRESHOLD = 0.01
# What every cell is worth at first, in thresholds: those where nothing forms are empty after some 200 steps.
# Until then every ray is followed through all of space.
OCCUPANCY_AT_FIRST = 1.5
# A plain sky would hang where it first took form, before the house; farther than this it needs ever longer.
SKY_PULL, SKY_DISTANCE = 3e-3, 5.0
# Where sparse points tell how far away what a pixel shows is, it is pulled there: the fewer photos there are,
# the less the colours tell. Less towards the end, when the field knows better than the points.
DEPTH_PULL, DEPTH_FALL, DEPTH_SLACK, DEPTH_MOST = 1.0, 0.3, 0.005, 0.5
EXPOSURE_RATE, EXPOSURE_PULL = 2e-2, 1e-3
# Exposures are tried for so much of the training, and given up where they differ by less (root mean square of
# the logarithms): what differs so little the field can tell by itself, and held-out photos fit better so.
EXPOSURE_TRIAL, EXPOSURE_LEAST = 0.15, 0.03
# Cameras move from so much of the training on (before, all is fog, which pulls them anywhere) to so much of
# it; by at most so many radians at once, at first; after so many steps of training; and of these, every so
# manyth is asked for the cameras' gradients.
REFINE_FROM, REFINE_TO = 0.15, 0.9
REFINE_RATE, REFINE_STEPS, REFINE_EVERY = 6e-4, 32, 2
# And after so much of the training at least: in a long one they would walk far at random, step by step.
REFINE_APART = (REFINE_TO - REFINE_FROM) / 160
# They are put back if after so much of the training they have turned by less (radians, root mean square):
# cameras that were right turn by 1e-3 to 1.6e-3, for nothing.
REFINE_TRIAL, REFINE_LEAST = 0.35, 2e-3
KEPT = ("master", "table_moments", "weight_moments", "occupancy_values", "exposures", "exposure_moments")


def exposures_matter(run: Run, done: float) -> bool:
    """Whether the photos' exposures are fitted; gives them up after the trial where they hardly differ."""
    if done < EXPOSURE_TRIAL:
        return True
    if not run.tried and float(np.sqrt(np.mean(run.exposures**2))) < EXPOSURE_LEAST:
        run.exposures[:] = 0
        run.exposure_moments[:] = 0
    run.tried = True
    return bool(run.exposures.any())


def exposed_views(run: Run, views: tuple[View, ...], scene_from_world: Array) -> tuple[View, ...]:
    """The views with their exposures; a held-out photo's is between those of its two neighbours.

    In order where exposures drift with time, in place where they follow what is in view: whichever tells
    the trained photos' own exposures better from the others'. In place too where it is at no place in the
    order.
    """
    if not run.exposures.any():
        return views
    train = np.array([i for i, v in enumerate(views) if v.split == "train"])

    def in_order(view: int, others: NDArray[np.intp]) -> Array:
        return np.array([np.interp(view, train[others], run.exposures[others, c]) for c in range(3)])

    places = standing(views, scene_from_world)

    def in_place(view: int, others: NDArray[np.intp]) -> Array:
        near, weights = neighbours(places[view], places[train[others]], 2)
        return np.asarray(weights @ run.exposures[others[near]], np.float64)

    everyone = np.arange(len(train))

    def missed(told: Callable[[int, NDArray[np.intp]], Array]) -> float:
        off = [told(train[i], np.delete(everyone, i)) - run.exposures[i] for i in everyone]
        return float(np.sum(np.square(off)))

    told = min((in_order, in_place), key=missed) if len(train) > 2 else in_order
    own = dict(zip(train.tolist(), run.exposures, strict=True))
    out = []
    for i, view in enumerate(views):
        between = train[0] < i < train[-1]  # which test views that are listed apart are not
        r, g, b = map(float, own[i] if i in own else (told if between else in_place)(i, everyone))
        out.append(replace(view, exposure=(r, g, b)))
    return tuple(out)


def placed_views(run: Run, views: tuple[View, ...]) -> tuple[View, ...]:
    """The views with their cameras as training moved them; held-out ones have no say, and follow others."""
    fit = run.cameras
    if fit is None or not (fit.poses.any() or fit.lenses.any()):
        return views
    changes = {v.intrinsics: fit.lenses[lens] for v, lens in zip(fit.views, fit.lens_of, strict=True)}
    train = iter(refined_views(fit))
    followed = iter(neighbours_changes(fit, [v for v in views if v.split != "train"]))
    none = np.zeros_like(fit.lenses[0])
    return tuple(
        next(train)
        if v.split == "train"
        else replace(
            v,
            intrinsics=refined_lens(v.intrinsics, changes.get(v.intrinsics, none)),
            world_from_cam=moved(v.world_from_cam, next(followed), fit.scene_from_world),
        )
        for v in views
    )


def refines(run: Run, data: TrainingSet, done: float) -> bool:
    """Whether cameras move at this point; puts them back after a trial that came to little."""
    fit = run.cameras
    if fit is None or not REFINE_FROM <= done < REFINE_TO:
        return False
    if done < REFINE_TRIAL:
        return True
    if 0 < turned(fit) < REFINE_LEAST and not run.refined:
        give_up(fit)
        run.trainer.set_cameras(kernel_cameras(refined_views(fit), data.placement.scene_from_world))
    run.refined = True
    return bool(fit.poses.any())


def new_run(
    data: TrainingSet, field_config: FieldConfig, seed: int, which: str = "auto", refine: bool = True
) -> Run:
    """Arrays of a run that has not started, where a backend's kernels can reach them.

    With ``refine``, cameras are refined too, but for cut-outs', which come from renderers: theirs are exact.
    """
    module = backend.load(which)
    config = resolve(field_config, data.photo_side, data.space.unbounded, backend.on_gpu(module))
    field, master = new_field(config, data.space, seed)
    field.occupancy[:] = data.allowed
    cells = data.space.occupancy_resolution**3
    with backend.device_errors():
        names = ("table", "weights", "weights_t", "occupancy")
        field = replace(field, **{k: backend.shared(getattr(field, k), module) for k in names})
        moments = np.zeros((len(master), 2, field.layout.features), np.float32)
        photos = len(data.train_views)
        values = np.full(cells, OCCUPANCY_AT_FIRST * OCCUPANCY_THRESHOLD, np.float32)
        cameras = None
        if refine and data.space.unbounded:
            gradients = backend.shared(np.zeros((photos, CAMERA_GRADIENT), np.float32), module)
            cameras = start_fit(data.train_views, data.placement.scene_from_world, gradients)
        return Run(
            field=field,
            master=backend.shared(master, module),
            table_moments=backend.shared(moments, module),
            weight_moments=backend.shared(np.zeros(2 * field.weights.size, np.float32), module),
            occupancy_values=backend.shared(values, module),
            exposures=backend.shared(np.zeros((photos, 3), np.float32), module),
            exposure_moments=backend.shared(np.zeros((photos, 2, 3), np.float32), module),
            cameras=cameras,
        )


def start(run: Run, data: TrainingSet, config: TrainConfig) -> None:
    """Hands the arrays to the kernels."""
    module = backend.load(config.backend)
    views = data.train_views if run.cameras is None else refined_views(run.cameras)
    cameras = kernel_cameras(views, data.placement.scene_from_world)
    with backend.device_errors():
        run.trainer = module.Trainer(
            kernel_field(run.field, module),
            run.master,
            run.table_moments,
            run.weight_moments,
            run.occupancy_values,
            data.allowed,
            cameras,
            data.pixels.reshape(-1),
            data.channels,
            # A background of its own for each ray: what is seen through would take on a fixed one's colour.
            data.space.unbounded or data.channels == 4,
            list(data.background),
            config.seed,
            backend.thread_count(config.threads),
            run.exposures,
            run.exposure_moments,
            data.chosen,
            None if run.cameras is None else run.cameras.gradients,
            data.depths,
        )


def advance(run: Run, data: TrainingSet, config: TrainConfig) -> dict[str, Any]:
    """One slice of training: up to SLICE seconds of steps. Returns the kernels' report."""
    module = backend.load(config.backend)
    seconds, steps = budget(config)
    done = fraction_done(run, config)
    options = options_at(done, data.space.unbounded, module)
    if not exposures_matter(run, done):
        options.exposure_rate = 0.0
    refining = refines(run, data, done)
    options.camera_every = REFINE_EVERY if refining else 0
    left = (steps - run.steps) if steps is not None else 1 << 40
    limit = min(SLICE, seconds - run.seconds)
    if steps is not None:  # schedules must not depend on the clock when steps are what is asked for
        left, limit = min(left, 50), math.inf if not math.isfinite(seconds) else limit
    if refining:
        left = min(left, REFINE_STEPS)
    began = time.perf_counter()
    try:
        with backend.device_errors():
            report: dict[str, Any] = run.trainer.run(options, left, limit)
    finally:  # Ctrl-C arrives just here, and what was trained by then counts
        run.seconds += time.perf_counter() - began
        run.steps = run.trainer.step
    if refining and int(fraction_done(run, config) / REFINE_APART) > int(done / REFINE_APART):
        move_cameras(run, data, done)
    run.rays += report["rays"]
    run.samples += report["survivors"]
    if not np.isfinite(report["squared_error"]):
        raise NerfsceneError(
            "training diverged (the loss is not a finite number); please report this, and try another --seed"
        )
    return report


def move_cameras(run: Run, data: TrainingSet, done: float) -> None:
    """One step of the cameras, along the gradients that the kernels have summed up."""
    assert run.cameras is not None
    update(run.cameras, REFINE_RATE * 0.02**done)
    run.trainer.set_cameras(kernel_cameras(refined_views(run.cameras), data.placement.scene_from_world))


def finished(run: Run, config: TrainConfig) -> bool:
    """Whether the budget is spent."""
    seconds, steps = budget(config)
    return run.seconds >= seconds - 1e-3 or (steps is not None and run.steps >= steps)


def snapshot(run: Run, data: TrainingSet, figures: Figures, points: NDArray[np.float32]) -> Scene:
    """The run as a scene (sharing its arrays)."""
    return Scene(
        field=run.field,
        views=exposed_views(run, placed_views(run, data.views), data.placement.scene_from_world),
        scene_from_world=data.placement.scene_from_world,
        background=data.background,
        has_alpha=data.channels == 4,
        figures=replace(
            figures,
            train_seconds=run.seconds,
            steps=run.steps,
            rays=run.rays,
            samples=run.samples,
            history=run.history,
            cameras_moved=None if run.cameras is None else pixels_moved(run.cameras),
        ),
        points=points,
    )


def kept_arrays(run: Run) -> dict[str, NDArray[Any]]:
    """What the optimiser keeps, by name."""
    out: dict[str, NDArray[Any]] = {name: getattr(run, name) for name in KEPT}
    if run.cameras is not None:
        names = ("poses", "lenses", "pose_moments", "lens_moments")
        out |= {f"camera_{name}": getattr(run.cameras, name) for name in names}
    return out


def training_arrays(run: Run) -> dict[str, NDArray[Any]]:
    """What going on needs besides the field."""
    t = run.trainer
    state = [t.survivors_per_ray, t.occupancy_mean, float(t.step), float(t.rays_drawn)]
    return {
        **kept_arrays(run),
        "weights": run.field.weights,
        "state": np.array(state, np.float64),
    }


def resume_run(run: Run, folder: Path, figures: Figures) -> NDArray[np.float64]:
    """Fills a new run's arrays from a saved one; returns the trainer's numbers to restore."""
    arrays = scenes.load_training(folder, figures.steps)
    try:
        for name, array in kept_arrays(run).items():
            array[...] = arrays[name].reshape(array.shape)
        run.field.weights[...] = arrays["weights"]
        state: NDArray[np.float64] = arrays["state"]
    except (KeyError, ValueError) as error:
        raise NerfsceneError(
            f"{folder} was trained with other settings, so training can't go on with these; give the "
            "same ones, or start again with --overwrite"
        ) from error
    run.field.table[...] = run.master.astype(np.float16).view(np.uint16)
    run.field.weights_t[...] = transposed(run.field.weights, layer_shapes(run.field.config))
    run.seconds, run.steps = figures.train_seconds, figures.steps
    run.rays, run.samples = figures.rays, figures.samples
    run.history = figures.history
    return state


def as_begun(data: TrainingSet, config: FieldConfig, field: RadianceField) -> tuple[TrainingSet, FieldConfig]:
    """What was chosen for the device that a training began on stays, though another goes on with it."""
    chosen = {name: getattr(field.config, name) for name, asked in vars(config).items() if asked is None}
    return replace(data, space=replace(data.space, step=field.space.step)), replace(config, **chosen)


def kinds(views: Sequence[View]) -> tuple[dict[str, int], ...]:
    """How many photos there are of each size (pixels) and focal length (mm, a 35 mm camera's), most first."""
    counts: Counter[tuple[int, int, int]] = Counter()
    for view in views:
        k = view.intrinsics
        focal = (k.fx + k.fy) / 2 / math.hypot(k.width, k.height) * FILM_DIAGONAL
        counts[k.width, k.height, round(focal)] += 1
    return tuple({"photos": n, "width": w, "height": h, "focal": f} for (w, h, f), n in counts.most_common())


def train_posed(
    posed: PosedCapture,
    folder: Path,
    config: TrainConfig,
    field_config: FieldConfig,
    listener: Listener = silent,
    resume: bool = False,
    control: Control | None = None,
) -> Scene:
    """Trains a posed capture and leaves the scene in ``folder`` (which exists).

    On KeyboardInterrupt what was trained is saved and the exception goes on. With ``resume``, the
    time and steps already spent count towards the budget. Through ``control`` it is paused, saved and
    stopped early: then it is measured too, and can be gone on with.
    Raises NerfsceneError for photos that can't be used or a folder that can't be written.
    """
    data = prepare(
        posed,
        downscale_for(posed, config),
        config.holdout,
        field_config.occupancy_resolution,
        lambda stage, fraction: listener(Progress(stage, fraction)),
        backend.on_gpu(backend.load(config.backend)),
    )
    if resume and scenes.read_split(folder) != [v.split for v in data.views]:
        raise NerfsceneError(
            f"{folder} was trained with other photos held out, so training can't go on with these; give the "
            "same photos and --holdout, or start again with --overwrite"
        )
    begun = scenes.load(folder) if resume else None
    if begun is not None:
        data, field_config = as_begun(data, field_config, begun.field)
    run = new_run(data, field_config, config.seed, config.backend, config.refine_cameras)
    figures = Figures(
        photos=posed.photos_given,
        photos_posed=len(posed.views),
        source=posed.source,
        reprojection_error=posed.reprojection_error,
        downscale=data.downscale,
        taken_in=kinds(posed.views),
        left_out=tuple(asdict(photo) for photo in posed.left_out),
        warnings=posed.warnings,
        posing=None if posed.posing is None else asdict(posed.posing),
        device=backend.describe(config.backend),
        settings={"train": asdict(config), "field": asdict(run.field.config)},
    )
    state = resume_run(run, folder, scenes.read_figures(folder)) if resume else None
    start(run, data, config)
    if state is not None:
        run.trainer.survivors_per_ray, run.trainer.occupancy_mean = float(state[0]), float(state[1])
        run.trainer.step, run.trainer.rays_drawn = int(state[2]), int(state[3])
    points = scene_points(posed, data)
    backdrop = None if begun is None else begun.backdrop

    def save(look: bool = True, **more: Any) -> Scene:
        """Writes the scene; ``look``: for its backdrop too, anew."""
        nonlocal backdrop
        # Read each time: a person may set them in the viewer while this goes on.
        scene = keeping(snapshot(run, data, replace(figures, **more), points), kept(folder))
        if look and data.space.unbounded:
            seen = [v for v in scene.views if v.split == "train"]
            backdrop = guessed(scene.photo_renderer(config.backend, config.threads), seen)
        scene = replace(scene, backdrop=backdrop)
        scenes.save(scene, folder, training_arrays(run))
        return scene

    saved_at = run.seconds
    control = control or Control()
    control.started(keeping(snapshot(run, data, figures, points), kept(folder)))
    try:
        while not finished(run, config) and not control.stop:
            if control.save:
                control.save = False
                save()
                saved_at = run.seconds
            if control.pause:
                time.sleep(0.05)
                continue
            report = advance(run, data, config)
            listener(training_progress(run, report, config))
            if run.seconds - saved_at > SAVE_EVERY:
                save(look=False)
                saved_at = run.seconds
        scene = save()
        listener(Progress("measuring held-out photos", 0.0))
        measured = measure(
            scene,
            config.backend,
            config.threads,
            lambda fraction: listener(Progress("measuring held-out photos", fraction)),
            control.measured,
        )
        return save(look=False, finished=finished(run, config), **measured)
    except KeyboardInterrupt:
        save()
        raise


def finished_already(folder: Path, config: TrainConfig, field_config: FieldConfig) -> bool:
    """Whether the scene in ``folder`` was trained to the end with just these settings."""
    done = scenes.read_figures(folder)
    asked = asdict(config)
    field_asked = {k: v for k, v in asdict(field_config).items() if v is not None}
    trained, field_trained = done.settings.get("train", {}), done.settings.get("field", {})
    ignored = {"threads"}
    return (
        done.finished
        and all(trained.get(k) == v for k, v in asked.items() if k not in ignored)
        and all(field_trained.get(k) == v for k, v in field_asked.items())
    )


def training_progress(run: Run, report: dict[str, Any], config: TrainConfig) -> Progress:
    """The report as a person reads it; also noted in the run's history, once per cent or so."""
    seconds, steps = budget(config)
    done = fraction_done(run, config)
    rays = max(report["rays"] - report["dropped"], 1)
    loss = report["squared_error"] / (3 * rays)
    psnr = -10 * math.log10(max(loss, 1e-10))
    spent = report["seconds_trace"] + report["seconds_table"] + report["seconds_occupancy"]
    remaining = seconds - run.seconds
    if steps is not None:
        remaining = min(remaining, run.seconds / max(done, 1e-6) * (1 - done))
    if not run.history or done - run.history[-1]["fraction"] >= 0.01:
        entry = {"fraction": done, "seconds": run.seconds, "step": run.steps, "psnr": psnr}
        run.history = (*run.history, entry)
    rate = report["survivors"] / max(spent, 1e-9)
    return Progress("training", done, run.steps, loss, psnr, rate, remaining, run.seconds)


def scene_points(posed: PosedCapture, data: TrainingSet) -> NDArray[np.float32]:
    """The sparse model's points in scene units (n, 3)."""
    m = data.placement.scene_from_world
    return (posed.points @ m[:3, :3].T + m[:3, 3]).astype(np.float32)
