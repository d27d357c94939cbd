"""The structure of the package: imports point one way, and importing it loads nothing heavy."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
PACKAGE = TESTS.parent / "nerfscene"

# The wings, bottom to top: each imports only from those before it. A name stands for a folder or for a module
# beside them. docs/change-it.md says what each is for; those not written yet may be named.
WINGS = (
    *("errors", "loading", "equality", "given", "keyed", "types", "config"),
    *("cameras", "capture", "ops", "field", "splatting", "posing", "formats", "scene"),
    *("credentials", "films", "measuring", "exporters", "viewer", "training"),
    *("intake", "doctor", "terminal", "api", "exporting", "clusters", "serve"),
    *(
        "training_page",
        "export_commands",
        "path_commands",
        "ray_commands",
        "serve_commands",
        "commands",
        "cli",
    ),
    *("__init__", "__main__"),
)
# Some see even less: photos and cameras know nothing of fields and kernels.
PHOTOS = {"errors", "loading", "given", "types", "config", "cameras"}
ONLY: dict[str, set[str]] = {
    "errors": set(),
    "types": {"equality"},
    "keyed": {"errors"},
    "config": {"errors", "given", "keyed"},
    "cameras": {"loading", "types"},
    "capture": PHOTOS,
    "ops": {"errors", "loading"},
    "field": {"errors", "loading", "equality", "given", "types", "config", "cameras", "ops"},
    "splatting": {"errors", "loading", "equality", "types", "cameras", "ops"},
    "posing": PHOTOS | {"capture", "ops"},  # which matches features
    "formats": PHOTOS | {"capture", "posing"},
    "intake": PHOTOS | {"capture", "posing", "formats"},
}
# Third-party packages that these wings alone may import.
KEPT_IN = {
    "pycolmap": {"posing"},
    "av": {"films", "capture"},
    "viser": {"viewer", "exporters"},
    "c2pa": {"credentials"},
    "ray": {"clusters"},
}


def unit(path: Path) -> str:
    """The file's place in the pipeline: its folder, or its own name."""
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
            if module.count(".") <= 1 and module.startswith("nerfscene"):  # what is imported may be a module
                found += [(f"{module}.{alias.name}", node.lineno) for alias in node.names]
    return found


FILES = sorted(PACKAGE.rglob("*.py"))
FOLDERS = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))
RANK = {name: rank for rank, name in enumerate(WINGS)}


def edges(path: Path) -> list[tuple[str, int]]:
    """The wings that a file imports from, with the line."""
    return [
        (module.split(".")[1], line)
        for module, line in imports(path)
        if module.startswith("nerfscene.") and module.split(".")[1] in RANK
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    here = unit(path)
    assert here in RANK, f"{here} is no wing yet: give it a place in this test's list"
    for there, line in edges(path):
        assert RANK[there] <= RANK[here], f"{path.name}:{line}: {here} imports {there}, which comes after it"
        if here in ONLY:
            allowed = ONLY[here] | {here}
            assert there in allowed, f"{path.name}:{line}: {here} may not import {there}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_heavy_packages_stay_where_they_belong(path: Path) -> None:
    for module, line in imports(path):
        homes = KEPT_IN.get(module.split(".")[0])
        assert homes is None or unit(path) in homes, f"{path.name}:{line}: only {homes} import {module}"


@pytest.mark.parametrize("wing", FOLDERS)
def test_each_wing_says_what_it_is_for(wing: str) -> None:
    text = ast.get_docstring(ast.parse((PACKAGE / wing / "__init__.py").read_text(encoding="utf-8")))
    assert text, f"{wing}/__init__.py has no docstring"
    lines = {line.partition(":")[0]: line.partition(":")[2].strip() for line in text.splitlines()[1:]}
    assert lines.get("In") and lines.get("Out") and lines.get("Read first"), text
    first = lines["Read first"].rstrip(".").strip("`")
    assert (PACKAGE / wing / first).is_file(), f"{wing}/{first} is to be read first and is not there"


@pytest.mark.parametrize("wing", FOLDERS)
def test_tests_mirror_the_wings(wing: str) -> None:
    modules = [path for path in (PACKAGE / wing).glob("*.py") if path.name != "__init__.py"]
    assert not modules or list((TESTS / wing).glob("test_*.py")), f"tests/{wing} has no tests"


def test_no_module_lies_beside_the_wings_without_a_place() -> None:
    assert {unit(path) for path in FILES} <= set(WINGS)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_modules_and_functions_stay_small(path: Path) -> None:
    """400 lines a module; 60 lines and 8 parameters a function, or its docstring says why it has more."""
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 400
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        a = node.args
        parameters = [p for p in [*a.posonlyargs, *a.args, *a.kwonlyargs] if p.arg not in ("self", "cls")]
        long = (node.end_lineno or 0) - node.lineno + 1 > 60
        if long or len(parameters) > 8:
            reason = "Long because" if long else "So many parameters because"
            said = " ".join((ast.get_docstring(node) or "").split())
            assert reason in said, f"{path.name}:{node.lineno}: {node.name} must say {reason!r} or be split"


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
        timeout=600,
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
    """Importing scipy took half of the time in which a command says that a folder is missing."""
    code = "import sys, nerfscene.api, nerfscene.cli; print('scipy' in sys.modules, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
