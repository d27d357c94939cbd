"""Compiles the kernels: one C++ module with several instruction sets, selected at run time.

If nvcc is found or can be downloaded, also one for NVIDIA GPUs (``build_support/cuda.py``). Without nvcc
everything else still works, and ``nerfscene doctor`` says why there is no CUDA module.

Both modules support every CPython from 3.11 on, so a platform needs only one wheel. They use Python's stable
ABI and nanobind's split mode: the part of nanobind that depends on Python's version is in the package
``nanobind-backend``, which has a small wheel for each version and is installed with nerfscene. (With
nanobind's own code compiled in, the stable ABI would begin at Python 3.12.) Split mode excludes PyPy,
free-threaded Python and musl, for which there is no such package. It also excludes linking the C++ library
statically, since exceptions cross from one module to the other. So a wheel needs a glibc and a libstdc++ at
least as new as those it was built with: built on Debian 12 it is tagged manylinux_2_34. To support older
systems, build it on one.
"""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

import nanobind
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError, ExecError, LinkError, PlatformError

from build_support import cpp, cuda

CPU, CUDA = "nerfscene.ops._cpu", "nerfscene.ops._cuda"
ROOT = Path("cuda_ext")
# Split mode, and the oldest Python whose stable ABI is used; `requires-python` in pyproject.toml is the same.
SPLIT: list[tuple[str, str | None]] = [
    ("NB_BACKEND_MODULE", "nanobind_backend"),
    ("NB_BACKEND_PYPI", "nanobind-backend"),
    ("Py_LIMITED_API", "0x030B0000"),
]
WHEEL_PYTHON = "cp311"
# No -ffast-math: the vector exponential relies on rounding, and non-finite input must be seen.
COMMON = ["-std=c++17", "-O3", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast",
          "-fvisibility=hidden", "-pthread", "-Wall", "-Wno-psabi", "-Wno-maybe-uninitialized"]  # fmt: skip
AVX2 = ["-mavx2", "-mfma", "-mf16c", "-mbmi2"]
AVX512 = [*AVX2, "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mprefer-vector-width=512"]


class BuildKernels(build_ext):
    """build_ext that requires the CPU module and builds the CUDA module if it can."""

    extensions: list[Extension]
    record: cuda.Record | None = None

    def build_extensions(self) -> None:
        optional = [ext for ext in self.extensions if ext.name == CUDA]
        self.extensions = [ext for ext in self.extensions if ext.name != CUDA]
        self.compiler.add_include_dir(nanobind.include_dir())
        super().build_extensions()
        for ext in optional:
            record = cuda.Record()
            try:
                self.build_cuda(ext, record)
                record.built = True
                self.extensions.append(ext)
            except Exception as error:  # any failure is acceptable: the CPU module is already built
                record.reason = str(error) if isinstance(error, cuda.CudaBuildError) else self.in_words(error)
                print(f"nerfscene: installed without its CUDA kernels: {record.reason}", file=sys.stderr)
                # One from an earlier build may be of other sources.
                Path(self.get_ext_fullpath(CUDA)).unlink(missing_ok=True)
            record.write(Path(self.get_ext_fullpath(CUDA)).parent)
            self.record = record

    def build_cuda(self, ext: Extension, record: cuda.Record) -> None:
        """Compiles and links the CUDA module, and notes in ``record`` what with. Raises if that fails."""
        if cuda.turned_off(os.environ):
            raise cuda.CudaBuildError("NERFSCENE_CUDA=0 turned them off")
        nvcc = cuda.find_nvcc()
        if nvcc is None:
            raise cuda.CudaBuildError(cuda.why_no_nvcc(os.environ, cuda.driver()))
        record.nvcc = str(nvcc)
        kit = cuda.toolkit(nvcc)
        record.nvcc = "nvidia-cuda-nvcc from PyPI" if kit.from_pypi else str(nvcc)
        record.version = kit.version
        record.architectures = cuda.architectures(kit.supported, os.environ.get("NERFSCENE_CUDA_ARCHS", ""))
        objects = [os.path.relpath(path) for path in cuda.compile_sources(kit, record.architectures)]
        ext.extra_link_args = cuda.link_flags(kit)
        objects += cpp.compiled(self.compiler, CUDA_BINDINGS, cpp.headers(with_cuda=True), COMMON, SPLIT)
        self.link(ext, objects)
        cuda.check_import(Path(self.get_ext_fullpath(CUDA)))

    def in_words(self, error: Exception) -> str:
        """An error of setuptools, or an unexpected one, as one sentence."""
        first = (str(error).strip().splitlines() or [""])[0][:200]
        what = f"their build failed with {type(error).__name__} ({first})"
        if isinstance(error, (CompileError, LinkError)):
            verb = "compiled" if isinstance(error, CompileError) else "linked"
            what = f"their Python bindings could not be {verb}"
        return f"{what}; `pip install -v .` shows the compiler's whole output"

    def build_extension(self, ext: Extension) -> None:
        """Compiles the kernels once per instruction set of this kind of processor, and the rest once."""
        x86 = platform.machine().lower() in {"x86_64", "amd64"}
        sets: dict[str, list[str]] = {"portable": []} | ({"avx2": AVX2, "avx512": AVX512} if x86 else {})
        have = [("NS_HAVE_AVX2", None), ("NS_HAVE_AVX512", None)] if x86 else []
        included = cpp.headers(with_cuda=False)
        objects = cpp.compiled(self.compiler, CPU_SOURCES, included, COMMON, [*SPLIT, *have])
        for name, flags in sets.items():
            flags, isa = [*COMMON, *flags], [("NS_ISA", name)]
            objects += cpp.compiled(self.compiler, CPU_KERNELS, included, flags, isa, name)
        self.link(ext, objects)

    def link(self, ext: Extension, objects: list[str]) -> None:
        """Links object files into a module, unless it is newer than all of them."""
        ext.extra_objects, ext.depends = objects, objects
        super().build_extension(ext)

    def run(self) -> None:
        try:
            super().run()
        except (CompileError, LinkError, ExecError, PlatformError) as error:
            raise SystemExit(
                f"{error}\n\nnerfscene's kernels could not be compiled. They need a C++17 compiler: on "
                "Debian and Ubuntu `apt install g++`, on a Mac `xcode-select --install`; then try again."
            ) from error
        if self.inplace:
            self.tidy_tree()

    def tidy_tree(self) -> None:
        """Removes modules of other builds from the source tree, which Python might load instead."""
        modules = [Path(self.get_ext_fullpath(name)) for name in (CPU, CUDA)]
        for module in modules:
            for other in module.parent.glob(f"{module.name.split('.')[0]}.*"):
                if other != module:  # one named for a single Python version would be found first
                    other.unlink()
        if self.record:  # setuptools copies only the modules into the tree
            self.record.write(modules[1].parent)
            if not self.record.built:
                modules[1].unlink(missing_ok=True)


# New sources in these folders are compiled without any change here.
CPU_KERNELS = sorted((ROOT / "cpu").glob("kernels*.cpp"))
CUDA_BINDINGS = sorted(ROOT.glob("bind_cuda*.cpp"))
CPU_SOURCES = sorted({*ROOT.glob("*.cpp"), *(ROOT / "cpu").glob("*.cpp")} - {*CPU_KERNELS, *CUDA_BINDINGS})

extensions = [
    Extension(
        CPU,
        sources=[],  # BuildKernels compiles them
        language="c++",
        py_limited_api=True,
        extra_link_args=["-pthread"] if sys.platform != "darwin" else [],
    )
]
if cuda.sources():
    extensions.append(Extension(CUDA, sources=[], language="c++", py_limited_api=True))
setup(
    ext_modules=extensions,
    cmdclass={"build_ext": BuildKernels},
    options={"bdist_wheel": {"py_limited_api": WHEEL_PYTHON}},
)
