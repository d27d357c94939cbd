"""Registers, spills and shared memory of every CUDA kernel: python -m bench.cuda_resources.

Needs nvcc, but no GPU. Writes bench/cuda-resources.md. tests/ops/test_cuda_build.py checks
the same numbers against limits.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from build_support import cuda

ARCHITECTURES = (80, 90, 120)
TABLE = Path(__file__).with_name("cuda-resources.md")


@dataclass(frozen=True)
class Resources:
    """What one kernel needs on one architecture, per thread or per block.

    registers: of a thread
    stack: local memory of a thread for indexed arrays, bytes
    spill: bytes per thread that didn't fit in registers: stored or loaded, whichever is more
    shared: static shared memory of a block, bytes; without what launches request dynamically
    """

    kernel: str
    source: str
    architecture: int
    registers: int
    stack: int
    spill: int
    shared: int


def parse(report: str, source: str) -> list[Resources]:
    """Reads the report of ``-Xptxas -v``. Functions not inlined count as part of the kernel before."""
    rows = []
    parts = re.split(r"Compiling entry function '([^']+)' for 'sm_(\d+)\w*'", report)
    for name, architecture, body in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        frames = re.findall(
            r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", body
        )
        registers = re.search(r"Used (\d+) registers", body)
        if not frames or not registers:
            raise ValueError(f"nvcc's report on {name} can't be parsed; its wording may have changed")
        shared = re.search(r"(\d+) bytes smem", body)
        rows.append(
            Resources(
                kernel=name,
                source=source,
                architecture=int(architecture),
                registers=int(registers[1]),
                stack=sum(int(frame[0]) for frame in frames),
                spill=max(sum(int(f[1]) for f in frames), sum(int(f[2]) for f in frames)),
                shared=int(shared[1]) if shared else 0,
            )
        )
    return rows


def demangled(names: Sequence[str]) -> list[str]:
    """Kernels' names as in the sources, without namespaces and parameters; unchanged without a demangler."""
    tool = shutil.which("cu++filt") or shutil.which("c++filt")
    if tool is None or not names:
        return list(names)
    said = subprocess.run([tool], input="\n".join(names), capture_output=True, text=True, check=True)
    return [short(line) for line in said.stdout.splitlines()]


def short(name: str) -> str:
    """E.g. "void a::(anonymous namespace)::kernel<a::Sizes<32>>(a::Input)" → "kernel<Sizes<32>>"."""
    name = re.sub(
        r"\(anonymous namespace\)::|<unnamed>::|\b\w+::|\((?:int|unsigned int|bool)\)|^void ", "", name
    )
    name = name.replace("> >", ">>").replace("void ", "")
    depth = 0
    for i, letter in enumerate(name):
        depth += (letter == "<") - (letter == ">")
        if letter == "(" and depth == 0:
            return name[:i].strip()
    return name.strip()


def measure(
    kit: cuda.Toolkit, architectures: Sequence[int] = ARCHITECTURES, sources: Sequence[Path] | None = None
) -> list[Resources]:
    """The resources of each source's kernels on each architecture.

    Without ``sources`` it uses the reports that the build kept, if they are for the current sources and these
    architectures. Otherwise it compiles, two at a time. Raises CudaBuildError if that fails.
    """
    kept = kept_reports(kit, architectures) if sources is None else None
    reports = compiled_reports(kit, architectures, sources or cuda.sources()) if kept is None else kept
    rows = [
        row for name, report in reports for row in parse(report, name) if row.architecture in architectures
    ]
    names = demangled([row.kernel for row in rows])
    renamed = [Resources(**{**vars(row), "kernel": name}) for row, name in zip(rows, names, strict=True)]
    return sorted(renamed, key=lambda row: (row.source, row.kernel, row.architecture))


def kept_reports(kit: cuda.Toolkit, architectures: Sequence[int]) -> list[tuple[str, str]] | None:
    """Each source's name and the assembler's report kept by the build; None if they don't match."""
    built = cuda.architectures(kit.supported, os.environ.get("NERFSCENE_CUDA_ARCHS", ""))
    files = cuda.object_files(kit, built, cuda.OBJECTS)
    if not set(architectures) <= set(built) or not all(cuda.report_of(f).exists() for f in files.values()):
        return None
    return [(source.name, cuda.report_of(file).read_text()) for source, file in files.items()]


def compiled_reports(
    kit: cuda.Toolkit, architectures: Sequence[int], sources: Sequence[Path]
) -> list[tuple[str, str]]:
    """The same as ``kept_reports``, but compiles the sources now."""
    text = {source: cuda.text_of(source) for source in sources}
    with_kernels = [source for source in sources if "__global__" in text[source]]
    jobs = [(p, a) for p in sorted(with_kernels, key=lambda p: -len(text[p])) for a in architectures]

    def compiled(job: tuple[Path, int]) -> tuple[str, str]:
        source, architecture = job
        out = Path(folder, f"{source.stem}-{architecture}.cubin")
        command = [str(kit.nvcc), *cuda.FLAGS, *cuda.REPORTING, "-cubin", f"-arch=sm_{architecture}"]
        return source.name, cuda.run_nvcc([*command, str(source), "-o", str(out)], source.name)

    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(cuda.AT_ONCE) as pool:
        return list(pool.map(compiled, jobs))


def markdown(rows: Sequence[Resources], version: str) -> str:
    """The table, with one line per kernel and architecture."""
    lines = [
        "# What the CUDA kernels need",
        "",
        f"Compiled by nvcc {version}; `python -m bench.cuda_resources` writes this file. Registers, stack",
        "and spill are per thread; spill is what didn't fit in registers: stored or loaded, whichever is",
        "more. Shared is per block, without what a launch asks for. Everything but registers is in bytes.",
        "",
        "| source | kernel | arch | registers | stack | spill | shared |",
        "|---|---|---|--:|--:|--:|--:|",
    ]
    for r in rows:
        what = f"{r.source} | `{r.kernel}` | sm_{r.architecture}"
        lines.append(f"| {what} | {r.registers} | {r.stack} | {r.spill} | {r.shared} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Writes the table."""
    nvcc = cuda.find_nvcc()
    if nvcc is None:
        raise SystemExit("nvcc was not found; set NERFSCENE_NVCC to its path")
    kit = cuda.toolkit(nvcc)
    rows = measure(kit)
    TABLE.write_text(markdown(rows, kit.version))
    print(f"{TABLE}: {len(rows)} lines, at most {max((row.spill for row in rows), default=0)} bytes spilled")


if __name__ == "__main__":
    main()
