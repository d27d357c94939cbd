"""Takes files: resumable uploads (tus), and a plain form for browsers without script."""

from __future__ import annotations

from fastapi import APIRouter

from nerfscene.serve.shop import Shop


def router_for(shop: Shop) -> APIRouter:
    """The routes that take files."""
    return APIRouter(include_in_schema=False)
