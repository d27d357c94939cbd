"""setuptools' build backend, which also asks PyPI for a CUDA compiler where a GPU is and no compiler."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from setuptools import build_meta
from setuptools.build_meta import *  # noqa: F403 (the hooks that stay as they are)

from build_support import cuda


def get_requires_for_build_wheel(config_settings: Mapping[str, Any] | None = None) -> list[str]:
    """What a wheel's build needs installed."""
    return [*build_meta.get_requires_for_build_wheel(config_settings), *cuda.requirements()]


def get_requires_for_build_editable(config_settings: Mapping[str, Any] | None = None) -> list[str]:
    """What an editable install's build needs installed."""
    return [*build_meta.get_requires_for_build_editable(config_settings), *cuda.requirements()]
