"""``nerfscene submit``: photos go to a server, the scene comes home."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from nerfscene.errors import NerfsceneError
from nerfscene.scene.atomic import telling
from nerfscene.serve.client import Refused, Server, upload
from nerfscene.serve.homing import unpacked
from nerfscene.serve.submit_files import Memory, chosen, remembered

POLL = 1.0  # seconds between two questions how far the server is
MOST_TOLD = 20  # files that can't be used, by name
UNFINISHED = ("waiting", "running", "paused")


class Screen(Protocol):
    """Where progress is shown; see ``terminal.Live``."""

    def show(self, stage: str, fraction: float, note: str = "") -> None: ...
    def say(self, text: str) -> None: ...
    def warn(self, text: str) -> None: ...


@dataclass(frozen=True)
class Wish:
    """What is wanted. settings: of the training, as the API takes them; wait: bring the scene home."""

    title: str
    settings: dict[str, Any]
    wait: bool


@dataclass(frozen=True)
class Submitted:
    """What came of it. page: the scene's page on the server; scene: its folder here, None without waiting;
    facts: of the scene, as the server tells them; unusable: a sentence on each file that isn't used."""

    page: str
    scene: Path | None
    facts: dict[str, Any]
    unusable: tuple[str, ...]


def submit(paths: Sequence[Path], server: Server, output: Path, wish: Wish, screen: Screen) -> Submitted:
    """Uploads photos, has a scene made of them, and brings it home to the folder ``output``.

    The same call again goes on where one was interrupted. Raises NerfsceneError with the server's sentence
    for what it refuses or fails at.
    """
    files, unusable = chosen(paths)
    _check_output(output)
    _tell(unusable, screen)
    memory = remembered(output, server.base)
    scene = _scene(server, memory, wish.title, files)
    facts = _upload(server, scene["id"], files, memory, screen)
    told = _unusable(facts)
    _tell(told, screen)
    unusable += told
    page = f"{server.base}/scenes/{scene['id']}"
    job = _train(server, facts, wish.settings, memory, screen)
    if not wish.wait:
        return Submitted(page, None, facts, tuple(unusable))
    screen.say(f"the server makes the scene; see it there: {page}")
    job = _wait(server, job, screen)
    facts = server.ask("GET", f"/api/scenes/{scene['id']}")
    if job["state"] == "failed" or not facts["looks"]:
        raise NerfsceneError(job["message"] or f"the training was {job['state']} before there was a scene")
    if job["state"] == "stopped":
        screen.warn("the training was stopped on the server; this is the scene so far")
    _home(server, facts, files, memory, output, screen)
    return Submitted(page, output, facts, tuple(unusable))


def _check_output(output: Path) -> None:
    with telling(output):
        if output.exists() and (not output.is_dir() or any(output.iterdir())):
            raise NerfsceneError(f"{output} is there already; choose another folder for the scene with -o")
        output.parent.mkdir(parents=True, exist_ok=True)
        if not os.access(output.parent, os.W_OK):
            raise NerfsceneError(f"{output.parent} can't be written; choose another folder with -o")


def _tell(lines: Sequence[str], screen: Screen) -> None:
    for line in lines[:MOST_TOLD]:
        screen.warn(f"not used: {line}")
    if len(lines) > MOST_TOLD:
        screen.warn(f"not used: {len(lines) - MOST_TOLD} more files")


def _scene(server: Server, memory: Memory, title: str, files: Sequence[Path]) -> dict[str, Any]:
    """The scene that was begun before, or a new one."""
    if memory.scene:
        try:
            known: dict[str, Any] = server.ask("GET", f"/api/scenes/{memory.scene}")
            if known["mine"] and known["deleted"] is None:
                return known
        except Refused as error:
            if error.status != 404:
                raise
    me = server.ask("GET", "/api/me")
    needed, left = sum(file.stat().st_size for file in files), me["left"]
    if needed > left:
        raise NerfsceneError(
            f"these files have {in_bytes(needed)}, but you may keep only {in_bytes(left)} more on "
            "this server; delete scenes there, or ask for a larger quota"
        )
    made: dict[str, Any] = server.ask("POST", "/api/scenes", {"title": title})
    memory.scene, memory.uploads = made["id"], {}
    memory.save()
    return made


def _upload(
    server: Server, scene: str, files: Sequence[Path], memory: Memory, screen: Screen
) -> dict[str, Any]:
    """Uploads the files, and waits until the server has checked them; returns the scene."""
    _drop_old(server, scene, memory, files)
    _drop_lost(server, scene, memory, files)
    known = {f["id"]: f for f in server.ask("GET", f"/api/scenes/{scene}")["files"]}
    total, done = sum(file.stat().st_size for file in files), 0
    refused: list[str] = []
    for number, file in enumerate(files, 1):
        address = memory.address(file)
        there = known.get(address.rpartition("/")[2])
        if there is None or there["state"] == "coming":
            label = f"{number} of {len(files)}: {file.name}"

            def told(came: int, before: int = done, label: str = label) -> None:
                screen.show("uploading", min((before + came) / max(total, 1), 1.0), label)

            def begun(new: str, file: Path = file) -> None:
                memory.keep(file, new)

            def lost() -> None:
                _drop_lost(server, scene, memory, files)

            try:
                upload(server, scene, file, address, begun, told, lost)
            except Refused as error:
                if error.status not in (400, 409, 413, 415, 422):
                    raise
                refused.append(_named(file.name, str(error)))
        done += file.stat().st_size
    _tell(refused, screen)
    facts = _checked(server, scene, screen)
    if not any(f["state"] == "whole" for f in facts["files"]):
        why = _unusable(facts) or refused
        raise NerfsceneError(
            f"the server can use none of the files ({(why or ['none came'])[0]}); give others"
        )
    return facts


def _drop_lost(server: Server, scene: str, memory: Memory, files: Sequence[Path]) -> None:
    """Removes uploads that nothing has come of, begun by requests whose answers were lost: the server would
    wait for them."""
    mine = {memory.address(file).rpartition("/")[2] for file in files}
    for file in server.ask("GET", f"/api/scenes/{scene}")["files"]:
        if file["state"] == "coming" and file["id"] not in mine and not file["received"]:
            server.request("DELETE", f"/api/scenes/{scene}/files/{file['id']}", (404,))


def _checked(server: Server, scene: str, screen: Screen) -> dict[str, Any]:
    """The scene when what was uploaded has been checked."""
    while True:
        facts: dict[str, Any] = server.ask("GET", f"/api/scenes/{scene}")
        coming = [f for f in facts["files"] if f["state"] == "coming" and f["received"] >= f["size"]]
        if not coming:
            return facts
        screen.show("checking", 1 - len(coming) / len(facts["files"]), f"{len(coming)} files")
        time.sleep(POLL / 2)


def _unusable(facts: dict[str, Any]) -> list[str]:
    """A sentence on each file that the server can't use."""
    return [_named(f["name"], f["why"]) for f in facts["files"] if f["state"] == "unusable"]


def _named(name: str, why: str) -> str:
    return why if name in why else f"{name}: {why}"


def _drop_old(server: Server, scene: str, memory: Memory, files: Sequence[Path]) -> None:
    """Removes the uploads of files that have changed since, or are no longer given.

    Those of a scene that is being trained stay, as it is trained on them.
    """
    given = {str(file): file for file in files}
    for path, (_, _, address) in list(memory.uploads.items()):
        if path in given and memory.address(given[path]):
            continue
        upload = address.rpartition("/")[2]
        if server.request("DELETE", f"/api/scenes/{scene}/files/{upload}", (404, 409)).status_code != 409:
            memory.drop(path)


def _train(
    server: Server, facts: dict[str, Any], settings: dict[str, Any], memory: Memory, screen: Screen
) -> dict[str, Any]:
    """The training that is under way, or done with all that came, or a new one."""
    job = next((job for job in facts["jobs"] if job["kind"] == "train"), None)
    if job is not None and (job["state"] in UNFINISHED or (_is_of_use(job, facts) and not memory.news)):
        if any(job["options"].get(name) != value for name, value in settings.items()):
            screen.warn(
                "the training was begun before, with other settings, and they stay; for a scene with these, "
                "choose another folder with -o"
            )
    else:
        job = _begin(server, facts, settings)
    memory.trained()
    return job


def _is_of_use(job: dict[str, Any], facts: dict[str, Any]) -> bool:
    """Whether a training has made a scene to bring home."""
    return job["state"] == "done" or (job["state"] == "stopped" and bool(facts["looks"]))


def _begin(server: Server, facts: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """A new training."""
    try:
        made: dict[str, Any] = server.ask("POST", f"/api/scenes/{facts['id']}/train", settings)
    except Refused as error:
        if error.status != 409:
            raise
        # It has begun if the answer to the first try was lost.
        again = server.ask("GET", f"/api/scenes/{facts['id']}")["jobs"]
        made = next((j for j in again if j["kind"] == "train" and j["state"] in UNFINISHED), {})
        if not made:
            raise
    return made


def _wait(server: Server, job: dict[str, Any], screen: Screen) -> dict[str, Any]:
    """Shows how far the job is until it ends."""
    shown: tuple[str, float, str] = ("", -1.0, "")
    while job["state"] in UNFINISHED:
        now = _stage(job)
        if now != shown and not now[:2] == shown[:2] == (now[0], 1.0):  # the end of a stage is said once
            screen.show(*now)
        shown = now
        time.sleep(POLL)
        job = server.ask("GET", f"/api/jobs/{job['id']}")
    return job


def _stage(job: dict[str, Any]) -> tuple[str, float, str]:
    """Where a job is: the stage, its fraction, and what else to say."""
    fraction = min(max(job["fraction"], 0.0), 1.0)
    if job["state"] == "running":
        return job["stage"] or "beginning", fraction, _left(job)
    if job["state"] == "paused":
        return "paused", min(fraction, 0.99), "it goes on when it is told to, on its page"
    ahead = job["ahead"] or 0
    return "waiting", 0.0, f"{ahead} before it" if ahead else "it is next"


def _left(job: dict[str, Any]) -> str:
    left = job["remaining"]
    return "" if left is None else f"{round(left) // 60}:{round(left) % 60:02d} left"


def _home(
    server: Server,
    facts: dict[str, Any],
    files: Sequence[Path],
    memory: Memory,
    output: Path,
    screen: Screen,
) -> None:
    """Brings the scene's folder home, and forgets the submission."""
    names = {f["id"]: f["name"] for f in facts["files"] if f["state"] == "whole"}
    here = {memory.address(file).rpartition("/")[2]: file for file in files}
    photos = {names[upload]: file for upload, file in here.items() if upload in names}
    # What was in a zip is in no folder here.
    within = any(name not in photos for name in names.values())
    archive = output.with_name(f".{output.name}.{os.getpid()}.zip.tmp")
    address = f"/api/scenes/{facts['id']}/scene.zip{'?photos=true' if within else ''}"
    try:
        with telling(archive):
            server.download(address, archive, lambda done: screen.show("bringing it home", done))
        unpacked(archive, output, photos)
    finally:
        archive.unlink(missing_ok=True)
    memory.file.unlink(missing_ok=True)


def in_bytes(count: float) -> str:
    """A number of bytes in MB or GB."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
