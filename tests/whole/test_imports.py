"""The package's shape: imports point down the pipeline, and nothing heavy is needed to import it."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "nerfscene"

# Low to high; a file may import from its own rank and below. A folder stands for all its files, and
# files that are not written yet may be named.
POSING = (
    *("poses", "ladder", "mapping", "misplaced", "matching", "zooms", "pairs", "copies", "sparse"),
    "triangulation",
)
APPS = ("app_files", "lens_fit", "phone_apps", "metashape", "realitycapture", "open_sfm")
READING = ("readers", "listing", "transforms", *APPS)
TAKING = ("photos", "culling", "masks", "archive", "footage", "motion", "dynamic_range", "intake")
RANKS = (
    ("errors", "types", "config"),
    ("cameras", "ops", "metrics", "capture", *POSING, *READING, *TAKING),
    ("field",),
    ("occupancy", "depths"),
    ("dataset", "rendering"),
    ("refinement", "footprint", "backdrop"),
    ("scene", "alignment"),
    ("world",),
    ("evaluate",),
    ("training",),
    (
        "paths",
        "camera_path_file",
        "video",
        "filming",
        "contact",
        "drawings",
        "advice",
        "report",
        "export",
        "viewer",
    ),
    ("api", "doctor"),
    ("cli", "__main__", "__init__"),
)
# Some may see even less of the package: photos and cameras know nothing of fields and kernels.
PHOTOS = {"errors", "types", "config", "cameras"}
ONLY = {
    "errors": set(),
    "types": set(),
    "config": set(),
    "cameras": {"types"},
    "ops": {"errors"},
    "photos": PHOTOS,
    "culling": PHOTOS | {"photos"},
    "masks": PHOTOS | {"photos"},
    "capture": PHOTOS | {"photos", "culling", "masks"},
    **dict.fromkeys(POSING, PHOTOS | {"capture", *POSING}),
    **dict.fromkeys(READING, PHOTOS | {"capture", "masks", *POSING, *READING}),
    "motion": {"types"},
    "dynamic_range": set(),
    "archive": PHOTOS | {"capture"},
    "footage": PHOTOS | {"capture", "motion", "dynamic_range"},
    "intake": PHOTOS | {"capture", "archive", "footage", *POSING, *READING},
}
# Third-party packages that these places alone may import.
KEPT_IN = {
    "pycolmap": {"poses", "mapping", "misplaced", "matching", "zooms", "triangulation"},
    "av": {"video", "footage"},
    "viser": {"viewer"},
}


def unit(path: Path) -> str:
    """The file's place in the pipeline: its name, or its folder's."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> list[tuple[str, int]]:
    """Every module that a file imports anywhere in it, absolute, with the line."""
    found = []
    package = ["nerfscene", *path.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found.append((module, node.lineno))
            if module == "nerfscene":  # from nerfscene import x: x may be a module
                found += [(f"nerfscene.{alias.name}", node.lineno) for alias in node.names]
    return found


FILES = sorted(PACKAGE.rglob("*.py"))
RANK = {name: rank for rank, names in enumerate(RANKS) for name in names}


def edges(path: Path) -> list[tuple[str, int]]:
    """The places in the package that a file imports from, with the line."""
    return [
        (module.split(".")[1], line)
        for module, line in imports(path)
        if module.startswith("nerfscene.") and module.split(".")[1] in RANK
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    here = unit(path)
    assert here in RANK, f"{here} has no place in the pipeline yet: give it a rank in this test"
    for there, line in edges(path):
        assert RANK[there] <= RANK[here], f"{path.name}:{line}: {here} imports {there}, which is above"
        if here in ONLY:
            allowed = ONLY[here] | {here}
            assert there in allowed, f"{path.name}:{line}: {here} may not know {there}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_heavy_packages_stay_where_they_belong(path: Path) -> None:
    for module, line in imports(path):
        homes = KEPT_IN.get(module.split(".")[0])
        assert homes is None or unit(path) in homes, f"{path.name}:{line}: only {homes} import {module}"


def test_no_circle_among_files() -> None:
    """Within a rank, files may import each other one way only."""
    graph: dict[str, set[str]] = {}
    for path in FILES:
        name = ".".join(["nerfscene", *path.relative_to(PACKAGE).with_suffix("").parts])
        graph[name.removesuffix(".__init__")] = {m for m, _ in imports(path)}
    done: set[str] = set()

    def visit(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, " → ".join([*above, name])
        if name in done or name not in graph:
            return
        for other in graph[name] - {name, "nerfscene"}:
            visit(other, (*above, name))
        done.add(name)

    for name in graph:
        visit(name, ())


BLOCK = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name == "nerfscene.ops._cpu" or name.split(".")[0] in {"pycolmap", "av", "viser"}:
            raise ImportError(f"{name} is not here")
sys.meta_path.insert(0, Missing())
"""


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", BLOCK + code],
        cwd=PACKAGE.parent,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_package_imports_without_its_extension() -> None:
    assert run("import nerfscene; print(nerfscene.__version__)").strip()


def test_what_is_missing_is_said_and_torch_still_works() -> None:
    out = run(
        """
from nerfscene.errors import NerfsceneError
from nerfscene.ops import backend
for name in ("auto", "cpu"):
    try:
        backend.load(name)
    except NerfsceneError as error:
        print(error)
print(backend.load("torch").instruction_set())
"""
    )
    said = out.strip().splitlines()
    assert len(said) == 3 and said[-1] == "torch"
    assert "is not here" in said[0] and "torch" in said[0]  # why, and what to do instead


def test_commands_begin_without_scipy() -> None:
    """Half of what a command took to say that a folder is not there."""
    code = "import sys, nerfscene.api, nerfscene.cli; print('scipy' in sys.modules, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
