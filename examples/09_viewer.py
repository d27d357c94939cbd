"""The viewer, opened from Python.

``ns.view`` serves a page to walk through a scene and returns at once, so that a notebook goes on. There,
``viewer = ns.view("out/example-scene")`` is all it takes: ``viewer.url`` is the link, ``viewer.close()`` ends
it. A script has to wait, or the page ends with it. Run example 01 first.
"""

from contextlib import suppress
from pathlib import Path

import tyro

import nerfscene as ns


def main(
    scene_folder: Path = Path("out/example-scene"),
    port: int = 8080,
) -> None:
    scene = ns.load(scene_folder)
    with ns.view(scene, port=port) as viewer, suppress(KeyboardInterrupt):
        print(f"open {viewer.url}   (Ctrl-C ends it)", flush=True)
        viewer.wait()
    print("closed")


if __name__ == "__main__":
    tyro.cli(main)
