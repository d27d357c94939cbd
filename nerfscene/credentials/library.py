"""The package that signs and checks, c2pa-python, which need not be installed."""

from __future__ import annotations

import importlib
from typing import Any

from nerfscene.errors import NerfsceneError

INSTALL = "pip install 'nerfscene[credentials]'"
# MiB that the package may hold of a file that it signs; the rest goes to disk. By itself, version 0.38 holds
# a file up to three times. Hashing takes up to 256 MiB more.
IN_MEMORY = 16


def why_missing() -> str | None:
    """Why content credentials can't be written or read here, in a few words; None if they can."""
    try:
        c2pa = importlib.import_module("c2pa")
        importlib.import_module("cryptography.x509")
    except (ImportError, OSError, RuntimeError) as error:
        if isinstance(error, ModuleNotFoundError):
            return f"{(error.name or 'c2pa').partition('.')[0]} is not installed"
        return f"c2pa can't be loaded: {error}"
    return None if hasattr(c2pa, "Context") else "the version of c2pa-python is too old"


def c2pa() -> Any:
    """The package. Raises NerfsceneError, with what to install, where it can't be used."""
    missing = why_missing()
    if missing is not None:
        raise NerfsceneError(f"content credentials can't be used here ({missing}): {INSTALL}")
    return importlib.import_module("c2pa")


def context(trusted: bytes | None = None) -> Any:
    """Settings for signing or reading: nothing is fetched from the network, and no thumbnail is added.

    trusted: certificates (PEM) whose signatures are reported as trusted.
    """
    settings: dict[str, Any] = {
        "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
        "builder": {"thumbnail": {"enabled": False}},
        "core": {"backing_store_memory_threshold_in_mb": IN_MEMORY},
    }
    if trusted is not None:
        settings["trust"] = {"user_anchors": trusted.decode("ascii", "replace")}
    return c2pa().Context.from_dict(settings)
