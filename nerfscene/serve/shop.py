"""What every part of the server works with: the data folder, its database and its settings."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

from nerfscene.config import ServeConfig
from nerfscene.errors import NerfsceneError
from nerfscene.given import size_of
from nerfscene.scene.atomic import telling
from nerfscene.serve.database import Database

SECRET = "secret"


@dataclass(frozen=True)
class Shop:
    """data: the server's folder; db: what it remembers; secret: 32 bytes that sign cookies."""

    data: Path
    db: Database
    config: ServeConfig
    secret: bytes

    def bytes_of(self, name: str) -> int:
        """One of the settings that are sizes, in bytes."""
        size = size_of(getattr(self.config, name))
        assert size is not None
        return size

    def room(self) -> int:
        """Bytes that may still be written to the disk; negative if less is free than should be spared."""
        return shutil.disk_usage(self.data).free - self.bytes_of("spare")


def queue_pause(shop: Shop) -> str:
    """Why no job is begun at the moment, as a sentence; "" if nothing is in the way."""
    room = shop.room()
    if room >= 0:
        return ""
    short = -room / 1e9
    return (
        f"the server's disk is full, so work waits: {max(short, 0.1):.1f} GB more must be free; delete "
        "scenes, films or exports, or free space in another way"
    )


def opened(data: Path, config: ServeConfig) -> Shop:
    """The server's folder, made if it isn't there. Raises NerfsceneError if it can't be used.

    Nobody else on this machine may look into one that is made: it has people's photos, and all links.
    """
    with telling(data):
        data.mkdir(stat.S_IRWXU, parents=True, exist_ok=True)
        for part in ("scenes", "uploads"):
            (data / part).mkdir(exist_ok=True)
    return Shop(data, Database(data), config, _secret(data / SECRET))


def _secret(file: Path) -> bytes:
    """The secret in a file that only its owner can read, made if it isn't there."""
    with telling(file):
        try:
            handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, stat.S_IRUSR | stat.S_IWUSR)
        except FileExistsError:
            found = file.read_bytes()
            if len(found) < 32:
                raise NerfsceneError(
                    f"{file} is damaged; delete it, and everyone will have to log in again"
                ) from None
            return found
        made = secrets.token_bytes(32)
        with os.fdopen(handle, "wb") as stream:
            stream.write(made)
        return made
