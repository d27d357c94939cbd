"""What a link shows to anyone who has it: one scene, to look at."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter(include_in_schema=False)
