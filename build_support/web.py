"""Fetches what the server's pages use from npm: tus-js-client, which sends files and goes on after breaks.

It is fetched into ``nerfscene/serve/static/vendor`` when nerfscene is built or installed from its source, and
becomes part of the wheel. Without it the pages send files with a plain form. A package of npm is a tar file,
of which two files are needed, so that no node is.
"""

from __future__ import annotations

import hashlib
import io
import os
import sys
import tarfile
import urllib.request
from collections.abc import Mapping
from pathlib import Path

REGISTRY = "https://registry.npmjs.org"
ARCHIVE = "tus-js-client/-/tus-js-client-4.3.1.tgz"
SHA256 = "919f46808b2c689be9214df5c0f21879bee4a4599b34e212ada8f14de1db9bc0"
# In the archive → in FOLDER.
FILES = {"package/dist/tus.min.js": "tus.min.js", "package/LICENSE": "tus-js-client-licence.txt"}
FOLDER = Path(__file__).resolve().parents[1] / "nerfscene/serve/static/vendor"
STAMP = "fetched.txt"  # the checksum of the archive that FOLDER holds the files of
MOST_BYTES = 20_000_000  # of the archive, which has 600 kB
TIMEOUT = 30.0  # seconds


def fetch(folder: Path = FOLDER, env: Mapping[str, str] = os.environ) -> bool:
    """Fetches the files unless they are there; returns whether they are there now.

    If they can't be fetched, says so in one line to stderr; the build goes on. The environment's
    npm_config_registry names another registry, as it does for npm.
    """
    stamp = folder / STAMP
    if stamp.exists() and stamp.read_text().strip() == SHA256:
        return True
    registry = env.get("npm_config_registry") or env.get("NPM_CONFIG_REGISTRY") or REGISTRY
    address = f"{registry.rstrip('/')}/{ARCHIVE}"
    try:
        files = unpacked(downloaded(address))
    except (OSError, ValueError, KeyError, tarfile.TarError) as error:
        print(
            f"nerfscene: the server's pages will send files with a plain form, without going on after a "
            f"break, because {address} could not be fetched ({' '.join(str(error).split())})",
            file=sys.stderr,
        )
        return False
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    stamp.write_text(SHA256 + "\n")
    return True


def downloaded(address: str) -> bytes:
    """What is at the address. Raises OSError, or ValueError if it has another checksum than SHA256."""
    with urllib.request.urlopen(address, timeout=TIMEOUT) as answer:
        content: bytes = answer.read(MOST_BYTES)
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise ValueError("it is not the file that was expected")
    return content


def unpacked(archive: bytes) -> dict[str, bytes]:
    """FILES from the archive, by their names in FOLDER. Raises KeyError if one is not there."""
    found = {}
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as opened:
        for inside, name in FILES.items():
            file = opened.extractfile(inside)
            if file is None:
                raise KeyError(inside)
            found[name] = file.read()
    return found


if __name__ == "__main__":  # python -m build_support.web
    sys.exit(0 if fetch() else 2)
