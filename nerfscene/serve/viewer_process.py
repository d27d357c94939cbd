"""A viewer as a process of its own, which ``viewers`` starts: one scene, for its owner or for guests.

``python -m nerfscene.serve.viewer_process FOLDER AUDIENCE THREADS`` prints one JSON object a line: ``port``
and ``cookie``, which lets in whoever sends it; later ``replaced``, if another scene is in the folder; or
``error``,
a sentence. It ends with its standard input, so that it can't outlive the server however that ends.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path

from nerfscene.errors import NerfsceneError

LOOK = 1.0  # seconds between two looks at whether the scene was replaced
PATIENCE = 10.0  # seconds in which the viewer should close
ADVICE = "Reload the page to see the new one"


def main(folder: Path, audience: str, threads: int) -> int:
    """Shows a scene until standard input ends. audience: as ``Viewer`` has it. Returns the exit code."""
    opened, over = threading.Event(), threading.Event()
    threading.Thread(target=_listen, args=(opened, over), daemon=True).start()
    try:
        from nerfscene.scene import folder as scenes
        from nerfscene.viewer.gate import OWNER
        from nerfscene.viewer.server import Viewer

        with Viewer(scenes.load(folder), folder, port=0, threads=threads, audience=audience) as viewer:
            opened.set()
            keeper = viewer.stage.keeper
            assert keeper is not None
            keeper.advice = ADVICE
            link = viewer.owner_url if audience == OWNER else viewer.url
            _say(port=viewer.gate.port, cookie=f"{viewer.gate.cookie}={link.partition('token=')[2]}")
            told = False
            while not over.wait(LOOK):
                if keeper.replaced and not told:
                    told = True
                    _say(replaced=True)
    except NerfsceneError as error:
        _say(error=str(error))
        return 2
    return 0


def _listen(opened: threading.Event, over: threading.Event) -> None:
    while os.read(0, 1024):
        pass
    if not opened.is_set():
        os._exit(1)  # nothing to close yet
    over.set()
    # A viewer that hangs ends all the same.
    late = threading.Timer(PATIENCE, os._exit, (1,))
    late.daemon = True
    late.start()


def _say(**said: object) -> None:
    print(json.dumps(said), flush=True)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
