"""The API's work: trainings, films, exports and pages, and how far they are."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request
from fastapi.responses import Response

from nerfscene.serve import actions, jobs
from nerfscene.serve.api_models import Export, Film, Page, Train
from nerfscene.serve.api_parts import BODY, PLAIN, Change, Scene, Who, job_to, refusals, told
from nerfscene.serve.facts import JobFacts
from nerfscene.serve.gate import Visitor, shop_of, waking
from nerfscene.serve.jobs import NotNow
from nerfscene.serve.scenes import scene_of

router = APIRouter(
    tags=["jobs"], generate_unique_id_function=lambda route: route.name, dependencies=[Depends(waking)]
)
JobId = Annotated[str, Path(max_length=64, description="The job's id.")]


@router.post("/scenes/{scene}/train", status_code=202, responses=refusals(400, 404, 409, *BODY))
def train(request: Request, who: Who, row: Change, scene: Scene, sent: Train | None = None) -> JobFacts:
    """Trains a scene on the photos that were uploaded. It waits for its turn first."""
    given = {} if sent is None else sent.given()
    more = bool(given.pop("more", False))
    settings = given or {k: v for k, v in row.settings.items() if k in actions.TRAINING}
    return told(request, actions.train(shop_of(request), row, settings, more))


@router.post("/scenes/{scene}/films", status_code=202, responses=refusals(400, 404, 409, *BODY))
def film(request: Request, who: Who, row: Change, scene: Scene, sent: Film | None = None) -> JobFacts:
    """Makes a film of a scene; the job's `files` name it when it is done."""
    return told(request, actions.film(shop_of(request), row, {} if sent is None else sent.given()))


@router.post("/scenes/{scene}/exports", status_code=202, responses=refusals(400, 404, 409, *BODY))
def export(request: Request, who: Who, row: Change, scene: Scene, sent: Export) -> JobFacts:
    """Writes a scene as a mesh, points, cameras or splats for other programs."""
    given = sent.given()
    to, ending = given.pop("to"), given.pop("ending")
    return told(request, actions.export(shop_of(request), row, to, ending, given))


@router.post("/scenes/{scene}/pages", status_code=202, responses=refusals(400, 404, 409, *BODY))
def page(request: Request, who: Who, row: Change, scene: Scene, sent: Page | None = None) -> JobFacts:
    """Makes the page to send again, which links show; the first is made with the scene."""
    return told(request, actions.page(shop_of(request), row, {} if sent is None else sent.given()))


@router.get("/jobs/{job}", responses=refusals(401, 404))
def get_job(request: Request, who: Who, job: JobId) -> JobFacts:
    """How far a job is: its place in the queue (`ahead`), stage, fraction and seconds left."""
    return told(request, job_to(request, who, job, changing=False))


@router.post("/jobs/{job}/pause", responses=refusals(404, 409, *PLAIN))
def pause(request: Request, who: Who, job: JobId) -> JobFacts:
    """Pauses a job. A running one saves what it has first, which takes a few seconds."""
    found = job_to(request, who, job, changing=True)
    if found.state not in jobs.UNFINISHED:
        raise NotNow(f"this job has ended ({found.state}); there is nothing to pause")
    jobs.ask(shop_of(request).db, job, "pause")
    return _now(request, who, job)


@router.post("/jobs/{job}/stop", responses=refusals(404, 409, *PLAIN))
def stop(request: Request, who: Who, job: JobId) -> JobFacts:
    """Stops a job. A training keeps the scene that it has so far."""
    found = job_to(request, who, job, changing=True)
    if found.state in ("done", "failed"):
        raise NotNow(f"this job has ended ({found.state}); there is nothing to stop")
    jobs.ask(shop_of(request).db, job, "stop")
    return _now(request, who, job)


@router.post("/jobs/{job}/go_on", responses=refusals(400, 404, 409, *PLAIN))
def go_on(request: Request, who: Who, job: JobId) -> JobFacts:
    """Lets a paused, stopped or failed job go on from what it saved, when its turn comes."""
    found = job_to(request, who, job, changing=True)
    shop = shop_of(request)
    if found.state == "done":
        raise NotNow("this job is done; begin a new one instead")
    actions.refuse_binned(scene_of(shop.db, found.scene))
    jobs.go_on(shop.db, job)
    return _now(request, who, job)


@router.delete("/jobs/{job}", status_code=204, responses=refusals(404, 409, *PLAIN))
def remove(request: Request, who: Who, job: JobId) -> Response:
    """Removes a film or an export that was made, failed or was stopped, with its files."""
    actions.remove_job(shop_of(request), job_to(request, who, job, changing=True))
    return Response(status_code=204)


def _now(request: Request, who: Visitor, job: str) -> JobFacts:
    return told(request, job_to(request, who, job, changing=False))
