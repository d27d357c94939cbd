"""Runs the jobs that wait, each in a process of its own."""

from __future__ import annotations

from types import TracebackType

from nerfscene.serve.shop import Shop


class Queue:
    """Begins jobs while it is open. A context manager: at its end running jobs save what they have."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop

    def __enter__(self) -> Queue:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass
