"""Pillow's core is loaded before pycolmap on every way into the package.

The other order can end the process when a picture is saved, so no test runs it: where pycolmap has to be
there first, an empty module stands in for it.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from nerfscene.posing import mapping

ROOT = Path(__file__).parents[2]
WAYS = {
    **{
        module: f"import nerfscene.{module}"
        for module in (
            *("api", "cli", "config", "doctor", "errors", "intake", "terminal", "training_page", "types"),
            *("cameras.rigid", "capture.folder", "exporters", "field.rendering", "films.filming"),
            *("formats.readers", "measuring.evaluate", "ops.backend", "scene.folder", "training.run"),
            *("posing", "posing.mapping", "posing.matching", "posing.misplaced", "posing.poses"),
            *("posing.triangulation", "posing.zooms", "viewer.server"),
        )
    },
    "package": "import nerfscene",
    "star": "from nerfscene import *",
    "notebook": "import nerfscene as ns; ns.train, ns.view",
    "command": """
import runpy
sys.argv = ["nerfscene", "info", "no such folder"]
try:
    runpy.run_module("nerfscene", run_name="__main__")
except SystemExit:
    pass
""",
    # It needs arguments and stops without them, after its imports.
    "global mapping": f"""
try:
    exec({mapping._GLOBAL_MAPPING!r})
except ValueError:
    pass
""",
}
ORDER = """
import pycolmap
order = list(sys.modules)
print(order.index("PIL._imaging") < order.index("pycolmap"))
"""
WORKER = """
import multiprocessing, sys
from nerfscene.posing.copies import copy_name

def first(_):
    assert copy_name(1)
    import pycolmap
    order = list(sys.modules)
    return order.index("PIL._imaging") < order.index("pycolmap")

if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(*pool.map(first, [0]))
"""
STAND_IN = "import sys, types\nsys.modules['pycolmap'] = types.ModuleType('pycolmap')\n"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    return done


# Most modules go the same way, through the package; make test tries these of them.
TRIED = {"api", "cli", "capture.folder", "posing.mapping", "viewer.server"}


@pytest.mark.parametrize(
    "way",
    [
        pytest.param(way, marks=[pytest.mark.long] * (code == f"import nerfscene.{way}" and way not in TRIED))
        for way, code in WAYS.items()
    ],
)
def test_pillow_is_loaded_before_pycolmap(way: str) -> None:
    assert run("-W", "error::UserWarning", "-c", f"import sys\n{WAYS[way]}{ORDER}").stdout.endswith("True\n")


def test_pillow_is_loaded_before_pycolmap_in_spawned_workers(tmp_path: Path) -> None:
    script = tmp_path / "workers.py"
    script.write_text(f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n{WORKER}")
    assert run(str(script)).stdout == "True\n"


def test_the_wrong_order_is_said_where_it_was_written(tmp_path: Path) -> None:
    script = tmp_path / "mine.py"
    path = f"sys.path.insert(0, {str(ROOT)!r})\n"
    script.write_text(f"{STAND_IN}{path}import nerfscene")
    said = run(str(script)).stderr
    assert "mine.py:4: UserWarning: " in said and said.count("Warning") == 1
    assert "import nerfscene or PIL.Image before pycolmap" in said
    script.write_text(f"{STAND_IN}import PIL.Image\n{path}import nerfscene")  # as matplotlib may load it
    assert "mine.py:5: UserWarning: " in run(str(script)).stderr
    script.write_text(f"import PIL.Image\n{STAND_IN}{path}import nerfscene")
    assert run(str(script)).stderr == ""


def test_the_package_imports_without_pillow() -> None:
    code = "import sys; sys.modules['PIL'] = None\nimport nerfscene; print(nerfscene.__version__)"
    assert run("-c", code).stdout.strip()


def test_nothing_more_than_the_core_is_loaded() -> None:
    code = "import sys, nerfscene; print('PIL.Image' in sys.modules, 'numpy' in sys.modules)"
    assert run("-c", code).stdout.split() == ["False", "False"]
