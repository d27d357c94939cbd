"""Compiles the kernels: one C++ module, several instruction sets inside, chosen when it runs.

And one for NVIDIA GPUs wherever an nvcc can be had (``build_support/cuda.py``); without it the package is
whole but for that, and ``nerfscene doctor`` says why.
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

from build_support import cuda

CPU, CUDA = "nerfscene.ops._cpu", "nerfscene.ops._cuda"
ROOT = Path("cuda_ext")
# No -ffast-math: the vector exponential relies on rounding, and non-finite input must be seen.
COMMON = ["-std=c++17", "-O3", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast",
          "-fvisibility=hidden", "-pthread", "-Wall", "-Wno-psabi", "-Wno-maybe-uninitialized"]  # fmt: skip
AVX2 = ["-mavx2", "-mfma", "-mf16c", "-mbmi2"]
AVX512 = [*AVX2, "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mprefer-vector-width=512"]


class BuildKernels(build_ext):
    """build_ext that must have the processor's module, and has the GPU's where it can."""

    extensions: list[Extension]
    nanobind: list[str]  # its object file, which both modules hold
    record: cuda.Record | None = None

    def build_extensions(self) -> None:
        optional = [ext for ext in self.extensions if ext.name == CUDA]
        self.extensions = [ext for ext in self.extensions if ext.name != CUDA]
        # Not among any module's sources: setuptools refuses to be told of files outside of the tree.
        self.nanobind = self.compiler.compile(
            [str(NANOBIND / "src/nb_combined.cpp")],
            output_dir=self.build_temp,
            include_dirs=INCLUDES,
            extra_postargs=COMMON,
        )
        super().build_extensions()
        for ext in optional:
            record = cuda.Record()
            try:
                self.build_cuda(ext, record)
                record.built = True
                self.extensions.append(ext)
            except Exception as error:  # whatever it is, the processor's module is here
                record.reason = str(error) if isinstance(error, cuda.CudaBuildError) else self.in_words(error)
                print(f"nerfscene: installed without its CUDA kernels: {record.reason}", file=sys.stderr)
                # An earlier build's, from other sources perhaps.
                Path(self.get_ext_fullpath(CUDA)).unlink(missing_ok=True)
            record.write(Path(self.get_ext_fullpath(CUDA)).parent)
            self.record = record

    def build_cuda(self, ext: Extension, record: cuda.Record) -> None:
        """Compiles and links the CUDA module; ``record`` learns what with. Raises where it can't."""
        if cuda.turned_off(os.environ):
            raise cuda.CudaBuildError("NERFSCENE_CUDA=0 turned it off")
        nvcc = cuda.find_nvcc()
        if nvcc is None:
            raise cuda.CudaBuildError(cuda.why_no_nvcc(os.environ, cuda.driver()))
        record.nvcc = str(nvcc)
        kit = cuda.toolkit(nvcc)
        record.nvcc = "nvidia-cuda-nvcc from PyPI" if kit.from_pypi else str(nvcc)
        record.version = kit.version
        record.architectures = cuda.architectures(kit.supported, os.environ.get("NERFSCENE_CUDA_ARCHS", ""))
        objects = [os.path.relpath(path) for path in cuda.compile_sources(kit, record.architectures)]
        ext.extra_objects += [*objects, *self.nanobind]
        ext.depends += objects  # linked again where any is new
        ext.extra_compile_args = [*COMMON]
        ext.extra_link_args = cuda.link_flags(kit)
        super().build_extension(ext)
        cuda.check_import(Path(self.get_ext_fullpath(CUDA)))

    def in_words(self, error: Exception) -> str:
        """An error of setuptools, or one that nobody foresaw, in one sentence."""
        first = (str(error).strip().splitlines() or [""])[0][:200]
        what = f"their build failed with {type(error).__name__} ({first})"
        if isinstance(error, (CompileError, LinkError)):
            verb = "compiled" if isinstance(error, CompileError) else "linked"
            what = f"their Python bindings could not be {verb}"
        return f"{what}; `pip install -v .` shows all that the compiler said"

    def build_extension(self, ext: Extension) -> None:
        """Compiles ``cpu/kernels.cpp`` once for each instruction set of this processor."""
        x86 = platform.machine().lower() in {"x86_64", "amd64"}
        sets: dict[str, list[str]] = {"portable": []} | ({"avx2": AVX2, "avx512": AVX512} if x86 else {})
        ext.extra_compile_args = [*COMMON]
        if x86:
            ext.define_macros += [("NS_HAVE_AVX2", None), ("NS_HAVE_AVX512", None)]
        for name, flags in sets.items():
            out = Path(self.build_temp) / name
            ext.extra_objects += self.compiler.compile(
                [str(ROOT / "cpu/kernels.cpp")],
                output_dir=str(out),
                macros=[("NS_ISA", name)],
                extra_postargs=[*COMMON, *flags],
                depends=ext.depends,
            )
        ext.extra_objects += self.nanobind
        super().build_extension(ext)

    def run(self) -> None:
        try:
            super().run()
            if self.inplace and self.record:  # setuptools copies the modules into the tree, not this
                module = Path(self.get_ext_fullpath(CUDA))
                self.record.write(module.parent)
                if not self.record.built:
                    module.unlink(missing_ok=True)
        except (CompileError, LinkError, ExecError, PlatformError) as error:
            raise SystemExit(
                f"{error}\n\nnerfscene's kernels could not be compiled. They need a C++17 compiler: on "
                "Debian and Ubuntu `apt install g++`, on a Mac `xcode-select --install`; then try again."
            ) from error


NANOBIND = Path(nanobind.include_dir()).parent
INCLUDES = [str(NANOBIND / "include"), str(NANOBIND / "ext/robin_map/include")]
CPU_SOURCES = ["bind.cpp", "cpu/dispatch.cpp", "cpu/threads.cpp", "cpu/trainer.cpp"]

extensions = [
    Extension(
        CPU,
        sources=[str(ROOT / name) for name in CPU_SOURCES],
        include_dirs=INCLUDES,
        depends=[str(p) for p in ROOT.rglob("*.h") if p.parent.name != "cuda"]
        + [str(ROOT / "cpu/kernels.cpp")],
        extra_link_args=["-pthread"] if sys.platform != "darwin" else [],
    )
]
if cuda.sources():
    extensions.append(
        Extension(
            CUDA,
            sources=[str(ROOT / "bind_cuda.cpp")],
            include_dirs=INCLUDES,
            depends=[str(p) for pattern in ("*.h", "cuda/*.cu") for p in ROOT.rglob(pattern)]
            + ["build_support/__init__.py", "build_support/backend.py", "build_support/cuda.py"],
        )
    )
setup(ext_modules=extensions, cmdclass={"build_ext": BuildKernels})
