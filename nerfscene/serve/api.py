"""What programs ask: JSON over HTTP, described at /api/openapi.json and, for people, at /api/docs.

The routes are in ``api_scenes``, ``api_jobs`` and ``api_people``; ``api_models`` has what is sent.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from nerfscene.serve import api_jobs, api_people, api_scenes
from nerfscene.serve.api_parts import Who, refusals
from nerfscene.serve.api_schema import docs_page, schema_of
from nerfscene.serve.gate import shop_of

router = APIRouter(prefix="/api")


@router.get("/openapi.json", tags=["about"], operation_id="schema", responses=refusals(401))
def schema(request: Request, who: Who) -> dict[str, Any]:
    """This description of the API, as OpenAPI 3.1."""
    return schema_of(request.app)


@router.get("/docs", include_in_schema=False)
def docs(request: Request, who: Who) -> HTMLResponse:
    """The same, to read."""
    base = shop_of(request).config.url.rstrip("/") or str(request.base_url).rstrip("/")
    return HTMLResponse(docs_page(schema_of(request.app), base))


for part in (api_scenes, api_jobs, api_people):
    router.include_router(part.router)
