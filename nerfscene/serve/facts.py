"""What pages and programs are told about a scene, put together from the database and its folder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from nerfscene.serve import jobs as jobs_table
from nerfscene.serve.jobs import Job, jobs_of
from nerfscene.serve.links import links_of
from nerfscene.serve.people import Person, may_change
from nerfscene.serve.scenes import SceneRow, UploadedFile, files_of, places
from nerfscene.serve.shop import Shop

# collecting: photos are being uploaded. ready: trained to the end.
SceneState = Literal["collecting", "waiting", "running", "paused", "ready", "failed", "stopped"]
SCENE_FILE = "scene.json"


@dataclass(frozen=True)
class JobFacts:
    """A job, as ``jobs.Job`` says; ahead: how many begin before it, None unless it waits; files: the
    addresses of what it made."""

    id: str
    kind: str
    state: str
    stage: str
    fraction: float
    remaining: float | None
    message: str
    ahead: int | None
    options: dict[str, Any]
    files: list[str]
    created: float
    started: float | None
    ended: float | None


@dataclass(frozen=True)
class FileFacts:
    """An upload: state is coming, whole or unusable (``why`` says why); received, size: bytes."""

    id: str
    name: str
    size: int
    received: int
    state: str
    why: str


@dataclass(frozen=True)
class LinkFacts:
    """A link that lets anyone look. address: on this server; ends: seconds since 1970, None for never."""

    token: str
    address: str
    ends: float | None


@dataclass(frozen=True)
class SceneFacts:
    """A scene. looks: whether there is something to step into; figures: of its scene.json, if it is trained;
    pictures: addresses by what they show (now, poster, turning); report, page: addresses, or "". files and
    links are for its owner alone."""

    id: str
    title: str
    state: SceneState
    mine: bool
    created: float
    deleted: float | None
    looks: bool
    figures: dict[str, Any]
    pictures: dict[str, str]
    report: str
    page: str
    webhook: str
    jobs: list[JobFacts]
    files: list[FileFacts]
    links: list[LinkFacts]


def scene_facts(shop: Shop, scene: SceneRow, person: Person) -> SceneFacts:
    """All about a scene, for a person who may look at it."""
    mine = may_change(person, scene.person)
    links = links_of(shop.db, scene.id) if mine else []
    at, base = places(shop.data, scene.id), f"/scenes/{scene.id}"
    jobs = jobs_of(shop.db, scene.id)
    queue = {job.id: i for i, job in enumerate(jobs_table.waiting(shop.db))} if _waits(jobs) else {}
    pictures = {
        name: f"{base}/{name}.jpg?{file.stat().st_mtime_ns}"
        for name, file in (("now", at.now), ("poster", at.poster), ("turning", at.turning))
        if file.exists()
    }
    return SceneFacts(
        id=scene.id,
        title=scene.title,
        state=state_of(jobs),
        mine=mine,
        created=scene.created,
        deleted=scene.deleted,
        looks=(at.scene / SCENE_FILE).exists(),
        figures=figures_of(at.scene),
        pictures=pictures,
        report=f"{base}/report.html" if (at.scene / "report.html").exists() else "",
        page=f"{base}/page/" if (at.page / "index.html").exists() else "",
        webhook=scene.webhook if mine else "",
        jobs=[job_facts(job, queue) for job in jobs],
        files=[file_facts(shop, f) for f in files_of(shop.db, scene.id)] if mine else [],
        links=[LinkFacts(link.token, f"/s/{link.token}", link.ends) for link in links],
    )


def _waits(jobs: list[Job]) -> bool:
    return any(job.state == "waiting" for job in jobs)


def state_of(jobs: list[Job]) -> SceneState:
    """A scene's state by its newest training; jobs: the newest first."""
    training = next((job for job in jobs if job.kind == "train"), None)
    if training is None:
        return "collecting"
    return "ready" if training.state == "done" else training.state


def job_facts(job: Job, queue: dict[str, int]) -> JobFacts:
    """queue: how many jobs are before each that waits."""
    return JobFacts(
        job.id, job.kind, job.state, job.stage, job.fraction, job.remaining, job.message, queue.get(job.id),
        job.options, [f"/scenes/{job.scene}/{name}" for name in job.result.get("files", [])],
        job.created, job.started, job.ended,
    )  # fmt: skip


def file_facts(shop: Shop, file: UploadedFile) -> FileFacts:
    """An upload and how much of it has come."""
    part = shop.data / "uploads" / file.id
    received = file.size if file.state != "coming" else (part.stat().st_size if part.exists() else 0)
    return FileFacts(file.id, file.name, file.size, received, file.state, file.why)


def figures_of(folder: Path) -> dict[str, Any]:
    """The figures in a scene's folder, without loading it; empty if there is none yet."""
    try:
        figures = json.loads((folder / SCENE_FILE).read_text()).get("figures", {})
    except (OSError, ValueError):
        return {}
    return figures if isinstance(figures, dict) else {}
