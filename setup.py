"""Compiles the kernels: one C++ module, several instruction sets inside, chosen when it runs."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

import nanobind
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError, ExecError, LinkError, PlatformError

ROOT = Path("cuda_ext")
# No -ffast-math: the vector exponential relies on rounding, and non-finite input must be seen.
COMMON = ["-std=c++17", "-O3", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast",
          "-fvisibility=hidden", "-pthread", "-Wall", "-Wno-psabi", "-Wno-maybe-uninitialized"]  # fmt: skip
AVX2 = ["-mavx2", "-mfma", "-mf16c", "-mbmi2"]
AVX512 = [*AVX2, "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mprefer-vector-width=512"]


class BuildKernels(build_ext):
    """build_ext that compiles ``cpu/kernels.cpp`` once for each instruction set of this processor."""

    def build_extension(self, ext: Extension) -> None:
        x86 = platform.machine().lower() in {"x86_64", "amd64"}
        sets = {"portable": []} | ({"avx2": AVX2, "avx512": AVX512} if x86 else {})
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
        super().build_extension(ext)

    def run(self) -> None:
        try:
            super().run()
        except (CompileError, LinkError, ExecError, PlatformError) as error:
            raise SystemExit(
                f"{error}\n\nnerfscene's kernels could not be compiled. They need a C++17 compiler: on "
                "Debian and Ubuntu `apt install g++`, on a Mac `xcode-select --install`; then try again."
            ) from error


base = Path(nanobind.include_dir()).parent
setup(
    ext_modules=[
        Extension(
            "nerfscene.ops._cpu",
            sources=[
                "cuda_ext/bind.cpp",
                "cuda_ext/cpu/dispatch.cpp",
                "cuda_ext/cpu/threads.cpp",
                "cuda_ext/cpu/trainer.cpp",
                str(base / "src/nb_combined.cpp"),
            ],
            include_dirs=[str(base / "include"), str(base / "ext/robin_map/include")],
            depends=[str(p) for p in ROOT.rglob("*.h")],
            extra_link_args=["-pthread"] if sys.platform != "darwin" else [],
        )
    ],
    cmdclass={"build_ext": BuildKernels},
)
