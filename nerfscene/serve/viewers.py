"""Shows scenes in 3D: a viewer process a scene, started when someone looks and ended when nobody does."""

from __future__ import annotations

from types import TracebackType

from fastapi import APIRouter

from nerfscene.serve.shop import Shop

router = APIRouter(include_in_schema=False)


class Viewers:
    """The viewers that run. A context manager: at its end they all end."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop

    def __enter__(self) -> Viewers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass
