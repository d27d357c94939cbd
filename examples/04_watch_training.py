"""Training watched from Python.

A listener is called a few times a second with the training progress. Through ``ns.Control`` it can pause,
save or stop training. Here it prints a line every five seconds and stops once photos are matched well enough.
A run that is stopped early leaves a whole scene: it is measured and saved, and ``resume=True`` continues it.
"""

from pathlib import Path

import tyro

import nerfscene as ns


def main(
    photos: Path = Path("data/demo/images"),
    scene_folder: Path = Path("out/04_scene"),
    seconds: float = 120,
    good_enough: float = 24.0,
) -> None:
    control = ns.Control()
    next_line = 0.0

    def listener(progress: ns.Progress) -> None:
        nonlocal next_line
        if progress.stage == "training" and progress.seconds >= next_line:
            next_line = progress.seconds + 5
            print(f"{progress.seconds:4.0f} s, step {progress.step}: {progress.psnr:.1f} dB while training")
        control.stop = control.stop or progress.psnr > good_enough

    config = ns.TrainConfig(time=seconds, quality="1min")
    scene = ns.train(photos, scene_folder, config, listener=listener, control=control, overwrite=True)
    state = "finished" if scene.figures.finished else "stopped early"
    print(f"{state} after {scene.figures.steps} steps: {scene.figures}")


if __name__ == "__main__":
    tyro.cli(main)
