"""setuptools' build backend, which also asks PyPI for a CUDA compiler where a GPU is and no compiler.

And it names wheels for all Linux systems that they run on.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from setuptools import build_meta
from setuptools.build_meta import *  # noqa: F403 (the hooks that stay as they are)

from build_support import cuda, wheel


def get_requires_for_build_wheel(config_settings: Mapping[str, Any] | None = None) -> list[str]:
    """What a wheel's build needs installed."""
    asked = build_meta.get_requires_for_build_wheel(config_settings)
    return [*asked, *cuda.requirements(), *wheel.requirements()]


def get_requires_for_build_editable(config_settings: Mapping[str, Any] | None = None) -> list[str]:
    """What an editable install's build needs installed."""
    return [*build_meta.get_requires_for_build_editable(config_settings), *cuda.requirements()]


def build_wheel(
    wheel_directory: str,
    config_settings: Mapping[str, Any] | None = None,
    metadata_directory: str | None = None,
) -> str:
    """Builds a wheel into a folder and returns its name."""
    for left in Path("build").glob("lib*"):  # else a file that was deleted since would be in the wheel
        shutil.rmtree(left)
    name = build_meta.build_wheel(wheel_directory, config_settings, metadata_directory)
    return wheel.tagged(Path(wheel_directory), name)
