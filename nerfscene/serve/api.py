"""What programs ask: JSON over HTTP, described at /api/openapi.json."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter(prefix="/api", tags=["api"])
