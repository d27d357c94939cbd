"""setuptools' build backend, with three additions.

It requests nvcc from PyPI if the machine has an NVIDIA driver but no nvcc. It fetches what the server's pages
use from npm. And it tags wheels with all Linux systems that they run on (manylinux).
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from setuptools import build_meta
from setuptools.build_meta import *  # noqa: F403 (the hooks that are not changed)

from build_support import cuda, web, wheel


def get_requires_for_build_wheel(config_settings: Mapping[str, Any] | None = None) -> list[str]:
    """The packages that must be installed to build a wheel."""
    asked = build_meta.get_requires_for_build_wheel(config_settings)
    return [*asked, *cuda.requirements(), *wheel.requirements()]


def get_requires_for_build_editable(config_settings: Mapping[str, Any] | None = None) -> list[str]:
    """The packages that must be installed to build an editable install."""
    return [*build_meta.get_requires_for_build_editable(config_settings), *cuda.requirements()]


def build_wheel(
    wheel_directory: str,
    config_settings: Mapping[str, Any] | None = None,
    metadata_directory: str | None = None,
) -> str:
    """Builds a wheel into a folder and returns its name."""
    for left in Path("build").glob("lib*"):  # otherwise files deleted since the last build stay in the wheel
        shutil.rmtree(left)
    web.fetch()
    name = build_meta.build_wheel(wheel_directory, config_settings, metadata_directory)
    return wheel.tagged(Path(wheel_directory), name)


def build_editable(
    wheel_directory: str,
    config_settings: Mapping[str, Any] | None = None,
    metadata_directory: str | None = None,
) -> str:
    """Builds a wheel that refers to this source tree, and returns its name."""
    web.fetch()
    return build_meta.build_editable(wheel_directory, config_settings, metadata_directory)
