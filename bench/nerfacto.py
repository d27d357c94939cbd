"""nerfstudio's nerfacto on a CPU: PSNR over time, on a folder that bench.shared_capture wrote.

It runs in an environment of its own and imports nothing from nerfscene:

    python3 -m venv /tmp/nerfacto && . /tmp/nerfacto/bin/activate
    pip install torch==2.13.0
    pip install --no-deps nerfstudio viser
    pip install numpy nerfacc==0.5.2 jaxtyping tyro rich Pillow opencv-python-headless==4.10.0.84 \
        scikit-image matplotlib mediapy imageio splines msgpack msgpack_numpy torchmetrics pytorch-msssim \
        pathos packaging fpsample tensorly tensorboard plotly trimesh h5py requests appdirs gdown \
        websockets zstandard msgspec
    python bench/nerfacto.py FOLDER --rays 512 --at 30 60 300

Model, data parser (with its own orientation and scale), ray generator, losses, schedules and camera
optimiser are those of nerfacto's method configuration. Four things differ: the implementation is the one
in torch (the only one for a CPU), numbers are float32, a step has ``--rays`` rays instead of 4,096, and
pixels are drawn from all training photos at once. ``--smaller`` uses a quarter of the table and about half
the samples per ray, so that a CPU gets more steps done. Only training is timed. ``--clock cpu`` counts CPU
seconds divided by the number of threads, for a machine that does other work at the same time. PSNR is over
pixels drawn at random from each held-out photo, because a whole photo takes minutes; the result is the mean
over photos.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import types
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

SMALLER = {
    "log2_hashmap_size": 17,
    "num_proposal_samples_per_ray": (96, 48),
    "num_nerf_samples_per_ray": 24,
}


def model_of(outputs: Any, views: int, smaller: bool) -> Any:
    """NerfactoModel as method_configs["nerfacto"] makes it, but without downloading weights for LPIPS."""
    import torchmetrics.image.lpip as lpip

    class NoLpips(torch.nn.Module):
        def __init__(self, **_: Any) -> None:
            super().__init__()

    lpip.LearnedPerceptualImagePatchSimilarity = NoLpips
    from nerfstudio.cameras.camera_optimizers import CameraOptimizerConfig
    from nerfstudio.models.nerfacto import NerfactoModelConfig

    config = NerfactoModelConfig(
        eval_num_rays_per_chunk=4096,
        average_init_density=0.01,
        camera_optimizer=CameraOptimizerConfig(mode="SO3xR3"),
        implementation="torch",
        **(SMALLER if smaller else {}),
    )
    return config.setup(scene_box=outputs.scene_box, num_train_data=views)


def optimisers_of(model: Any) -> list[Any]:
    """(optimiser, scheduler) for each group of parameters, with nerfacto's learning rates."""
    from nerfstudio.engine.optimizers import AdamOptimizerConfig
    from nerfstudio.engine.schedulers import ExponentialDecaySchedulerConfig

    rates = {
        "proposal_networks": (1e-2, 1e-4, 200000),
        "fields": (1e-2, 1e-4, 200000),
        "camera_opt": (1e-3, 1e-4, 5000),
    }
    out = []
    for name, parameters in model.get_param_groups().items():
        rate, final, steps = rates[name]
        optimiser = AdamOptimizerConfig(lr=rate, eps=1e-15).setup(params=parameters)
        decay = ExponentialDecaySchedulerConfig(lr_final=final, max_steps=steps).setup()
        out.append((optimiser, decay.get_scheduler(optimizer=optimiser, lr_init=rate)))
    return out


def photos(outputs: Any) -> list[torch.Tensor]:
    """Every photo (height, width, 3), uint8."""
    return [torch.from_numpy(np.array(Image.open(f).convert("RGB"))) for f in outputs.image_filenames]


class Rays:
    """Pixels drawn from photos, with nerfstudio's rays through them."""

    def __init__(self, outputs: Any) -> None:
        from nerfstudio.model_components.ray_generators import RayGenerator

        self.photos = photos(outputs)
        self.rays = RayGenerator(outputs.cameras)
        self.sizes = torch.tensor([p.shape[:2] for p in self.photos])

    def draw(self, which: torch.Tensor) -> tuple[Any, torch.Tensor]:
        """A ray through a random pixel of each photo in ``which`` (n,), and the colours there (n, 3), 0…1."""
        at = (torch.rand(len(which), 2) * self.sizes[which]).long()
        picked = torch.stack([which, at[:, 0], at[:, 1]], 1)
        colors = torch.stack([self.photos[i][y, x] for i, y, x in picked.tolist()]).float() / 255
        return self.rays(picked), colors


@torch.no_grad()
def measured(model: Any, held_out: Rays, pixels: int) -> tuple[float, float]:
    """Mean PSNR over the held-out photos, as rendered and with gains fitted; always at the same pixels.

    The gains, one per channel, are fitted on one half of the pixels and evaluated on the other half, and vice
    versa.
    """
    model.eval()
    with torch.random.fork_rng():
        torch.manual_seed(7)
        plain, matched = [], []
        for i in range(len(held_out.photos)):
            bundle, colors = held_out.draw(torch.full((pixels,), i))
            parts = [model(bundle[a : a + 1024])["rgb"].clamp(0, 1) for a in range(0, pixels, 1024)]
            seen = torch.cat(parts)
            gained = seen.clone()
            for fit, judge in ((0, 1), (1, 0)):
                a, b = seen[fit::2], colors[fit::2]
                gained[judge::2] *= (a * b).sum(0) / (a * a).sum(0)
            plain.append(psnr(seen, colors))
            matched.append(psnr(gained.clamp(0, 1), colors))
    model.train()
    return float(np.mean(plain)), float(np.mean(matched))


def psnr(a: torch.Tensor, b: torch.Tensor) -> float:
    """Peak signal-to-noise ratio of colours 0…1, in dB."""
    return -10 * float(torch.log10(torch.mean((a - b) ** 2)))


class Training:
    """nerfacto while it trains, with the seconds and steps so far."""

    def __init__(self, train: Rays, outputs: Any, rays: int, smaller: bool) -> None:
        self.train, self.rays = train, rays
        self.model = model_of(outputs, len(train.photos), smaller)
        self.model.train()
        self.optimisers = optimisers_of(self.model)
        self.callbacks = self.model.get_training_callbacks(None)
        self.counts = (train.sizes[:, 0] * train.sizes[:, 1]).double()
        self.seconds = self.cpu = 0.0
        self.steps = 0

    def step(self) -> None:
        """Trains on one batch of rays."""
        from nerfstudio.engine.callbacks import TrainingCallbackLocation as At

        began, cpu_began = time.perf_counter(), time.process_time()
        for callback in self.callbacks:
            callback.run_callback_at_location(self.steps, At.BEFORE_TRAIN_ITERATION)
        bundle, colors = self.train.draw(torch.multinomial(self.counts, self.rays, replacement=True))
        seen, batch = self.model(bundle), {"image": colors}
        metrics = self.model.get_metrics_dict(seen, batch)
        loss = sum(self.model.get_loss_dict(seen, batch, metrics).values())
        for optimiser, _ in self.optimisers:
            optimiser.zero_grad(set_to_none=True)
        loss.backward()
        for optimiser, scheduler in self.optimisers:
            optimiser.step()
            scheduler.step()
        for callback in self.callbacks:
            callback.run_callback_at_location(self.steps, At.AFTER_TRAIN_ITERATION)
        self.steps += 1
        self.seconds += time.perf_counter() - began
        self.cpu += time.process_time() - cpu_began


def main() -> None:
    """Trains until the last time in ``--at`` and prints a row at each of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rays", type=int, default=512)
    parser.add_argument("--at", type=float, nargs="+", default=[30, 60, 300], help="seconds of training")
    parser.add_argument("--smaller", action="store_true", help="a model that suits a CPU better")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--pixels", type=int, default=2048, help="of each held-out photo")
    parser.add_argument("--json", type=Path, help="append a line for each row here")
    asked = parser.parse_args()
    sys.modules.setdefault("open3d", types.ModuleType("open3d"))  # imported, but not used
    torch.manual_seed(0)
    from nerfstudio.data.dataparsers.nerfstudio_dataparser import NerfstudioDataParserConfig

    reader = NerfstudioDataParserConfig(data=asked.folder, downscale_factor=1).setup()
    outputs = reader.get_dataparser_outputs("train")
    held_out = Rays(reader.get_dataparser_outputs("test"))
    run = Training(Rays(outputs), outputs, asked.rays, asked.smaller)
    threads = torch.get_num_threads()
    size = "smaller, " if asked.smaller else ""
    print(f"nerfacto, {size}{asked.rays} rays a step, {threads} threads, {asked.folder}")
    print("| s | CPU s | steps | PSNR | matched |\n|---|---|---|---|---|", flush=True)
    for until in sorted(asked.at):
        while (run.seconds if asked.clock == "wall" else run.cpu / threads) < until:
            run.step()
        found, matched = measured(run.model, held_out, asked.pixels)
        print(
            f"| {run.seconds:.0f} | {run.cpu:.0f} | {run.steps} | {found:.2f} | {matched:.2f} |", flush=True
        )
        if asked.json:
            row = {
                "seconds": run.seconds, "cpu": run.cpu, "steps": run.steps, "psnr": found, "matched": matched,
                "rays": asked.rays, "smaller": asked.smaller,
            }  # fmt: skip
            with asked.json.open("a") as file:
                file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
