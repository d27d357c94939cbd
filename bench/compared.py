"""Ours beside what others have published: a table, and contact sheets with the worst views first.

``python -m bench.compared NAME=SCENE … [--sheets FOLDER]``: scenes made by ``nerfscene train``, each under
its capture's name. Held-out views are measured again. What others have published for a capture is in
``published.py``; where sizes or posing differ, the table says so, and the figures aren't equal terms.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.published import PUBLISHED, TUNED
from nerfscene.films.video import to_bytes
from nerfscene.measuring.advice import verdict
from nerfscene.measuring.contact_sheet import contact_sheet
from nerfscene.measuring.evaluate import measure
from nerfscene.scene import folder
from nerfscene.scene.scene import Scene, with_figures

Pictures = dict[str, tuple[NDArray[np.uint8], NDArray[np.uint8]]]
HEAD = "| capture | method | photos | at | PSNR | matched | SSIM | FLIP | trained on | source |"


def measured(scene: Scene) -> tuple[dict[str, Any], Pictures]:
    """What ``measure`` returns, and each view's photo and render."""
    pictures: Pictures = {}

    def keep(figures: dict[str, Any], photo: Any, render: Any, error: Any) -> None:
        pictures[figures["photo"]] = to_bytes(photo), to_bytes(render)

    return measure(scene, shown=keep), pictures


def sheet(name: str, figures: dict[str, Any], pictures: Pictures, file: Path, most: int = 12) -> None:
    """Writes the held-out views beside their photos, those that look worst first."""
    worst = sorted(figures["per_view"], key=lambda v: -v["flip"])[:most]
    labels = [f"{name} {v['photo']}: {v['psnr']:.1f} dB, FLIP {v['flip']:.3f}" for v in worst]
    contact_sheet([(t, *pictures[v["photo"]]) for t, v in zip(labels, worst, strict=True)], file)


def rows(name: str, scene: Scene, figures: dict[str, Any]) -> list[str]:
    """The table's lines for a capture: ours, then what is published."""
    f, k = scene.figures, scene.views[0].intrinsics
    kind = "tuned on" if name in TUNED else "only measured"
    at = f"{k.width}×{k.height}, {f.steps:,} steps, {f.train_seconds:.0f} s"
    trained = f"{f.history[-1]['psnr']:.2f}" if f.history else "—"
    ours = (
        f"| {name} ({kind}) | nerfscene | {f.photos_posed} of {f.photos} | {at} "
        f"| **{figures['psnr']:.2f}** | {figures['psnr_matched']:.2f} "
        f"| {figures['ssim']:.3f} | {figures['flip']:.3f} | {trained} | |"
    )
    theirs = [
        f"| {name} | {p.method} | | {p.under} | {p.psnr:.2f} | | {'' if p.ssim is None else f'{p.ssim:.3f}'} "
        f"| | | {p.source} |"
        for p in PUBLISHED.get(name, ())
    ]
    return [ours, *theirs]


def main() -> None:
    """Prints the table, line by line as it is measured, and then each capture's verdict."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenes", nargs="+", metavar="NAME=SCENE")
    parser.add_argument("--sheets", type=Path, metavar="FOLDER")
    given = parser.parse_args()
    print(HEAD + "\n|" + "---|" * (HEAD.count("|") - 1))
    said = []
    for one in given.scenes:
        name, _, place = one.partition("=")
        scene = folder.load(place)
        figures, pictures = measured(scene)
        print("\n".join(rows(name, scene, figures)), flush=True)
        if given.sheets is not None and figures["views"]:
            sheet(name, figures, pictures, given.sheets / f"{name}.png")
            (given.sheets / f"{name}.json").write_text(json.dumps(figures))
        said.append(f"{name}: {verdict(with_figures(scene, **figures))}")
    print("\n" + "\n".join(said))


if __name__ == "__main__":
    main()
