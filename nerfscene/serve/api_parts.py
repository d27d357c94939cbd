"""What the API's routes share: who asks, which scene or job, and the refusals that they document."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, HTTPException, Path, Request

from nerfscene.errors import NerfsceneError
from nerfscene.serve import jobs
from nerfscene.serve.api_models import Refusal
from nerfscene.serve.facts import JobFacts, job_facts
from nerfscene.serve.gate import Visitor, scene_to_change, scene_to_look_at, shop_of, visitor
from nerfscene.serve.jobs import Job
from nerfscene.serve.scenes import SceneRow

Scene = Annotated[str, Path(max_length=64, description="The scene's id.")]
Who = Annotated[Visitor, Depends(visitor)]
WHY = {
    400: "It can't be done; the sentence says why.",
    401: "Nobody is logged in, or the key is wrong.",
    403: "You may look, but not change this; or the X-Token is missing.",
    404: "There is no such thing, or it isn't yours to see.",
    409: "It can't be done now.",
    413: "The request is too large.",
    422: "The request isn't as described.",
    429: "Too much was asked for; Retry-After says how many seconds to wait.",
}
BODY = (401, 403, 413, 422, 429)  # of every request that changes something and carries a body
PLAIN = (401, 403, 422, 429)  # of those without


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The refusals of a route, for its description."""
    return {status: {"model": Refusal, "description": WHY[status]} for status in (*statuses, 422, 429)}


def look_at(request: Request, who: Who, scene: Scene) -> SceneRow:
    """The scene of a route's address, for whoever may look at it."""
    return scene_to_look_at(request, who, scene)


def change(request: Request, who: Who, scene: Scene) -> SceneRow:
    """The scene of a route's address, for its owner."""
    return scene_to_change(request, who, scene)


LookAt = Annotated[SceneRow, Depends(look_at)]
Change = Annotated[SceneRow, Depends(change)]


def job_to(request: Request, who: Visitor, job: str, changing: bool) -> Job:
    """The job, if its scene may be looked at, or changed. Raises HTTPException: 404 or 403."""
    try:
        found = jobs.job_of(shop_of(request).db, job)
    except NerfsceneError as error:
        raise HTTPException(404, str(error)) from None
    try:
        scene_to_look_at(request, who, found.scene)
    except HTTPException:
        raise HTTPException(404, "there is no such job; look for its scene in the gallery") from None
    if changing:
        scene_to_change(request, who, found.scene)
    return found


def told(request: Request, job: Job) -> JobFacts:
    """A job, with its place in the queue."""
    waiting = jobs.waiting(shop_of(request).db) if job.state == "waiting" else []
    return job_facts(job, {one.id: i for i, one in enumerate(waiting)})
