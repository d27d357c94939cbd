"""What the build fetches for the server's pages: checked, once, and never in the way of a build."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from build_support import web


def registry(folder: Path, files: dict[str, bytes]) -> dict[str, str]:
    """A registry in a folder, as the environment names it."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as made:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            made.addfile(info, io.BytesIO(content))
    place = folder / "registry" / web.ARCHIVE
    place.parent.mkdir(parents=True)
    place.write_bytes(stream.getvalue())
    return {"npm_config_registry": (folder / "registry").as_uri()}


def test_files_are_fetched_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    env = registry(
        tmp_path, {"package/dist/tus.min.js": b"script", "package/LICENSE": b"MIT", "package/x": b""}
    )
    content = (tmp_path / "registry" / web.ARCHIVE).read_bytes()
    monkeypatch.setattr(web, "SHA256", hashlib.sha256(content).hexdigest())
    folder = tmp_path / "vendor"
    assert web.fetch(folder, env)
    assert (folder / "tus.min.js").read_bytes() == b"script"
    assert (folder / "tus-js-client-licence.txt").read_bytes() == b"MIT"
    assert sorted(p.name for p in folder.iterdir()) == [
        "fetched.txt",
        "tus-js-client-licence.txt",
        "tus.min.js",
    ]
    assert web.fetch(folder, {"npm_config_registry": "file:///nowhere"})


@pytest.mark.parametrize("there", [True, False])
def test_a_build_goes_on_without_them(
    tmp_path: Path, there: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    env = registry(tmp_path, {"package/dist/tus.min.js": b"another script"})
    if not there:
        (tmp_path / "registry" / web.ARCHIVE).unlink()
    assert not web.fetch(tmp_path / "vendor", env)
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "plain form" in said
    assert not (tmp_path / "vendor").exists()
