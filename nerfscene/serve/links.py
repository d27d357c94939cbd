"""Links that let anyone who has them look at one scene, until they end or are taken back."""

from __future__ import annotations

import time
from dataclasses import dataclass

from nerfscene.serve.database import Database, new_secret
from nerfscene.serve.limits import not_too_many


@dataclass(frozen=True)
class Link:
    """token: 160 random bits, the last part of the address. ends: seconds since 1970, None for never."""

    token: str
    scene: str
    created: float
    ends: float | None
    taken_back: float | None

    @property
    def holds(self) -> bool:
        """Whether the link still shows its scene."""
        return self.taken_back is None and (self.ends is None or time.time() < self.ends)


def new_link(db: Database, scene: str, days: float | None) -> Link:
    """A link to a scene. days: after which it ends; None: never. Raises NerfsceneError for too many links."""
    now = time.time()
    link = Link(new_secret(), scene, now, None if days is None else now + 86400 * days, None)
    with db.change() as c:
        owner = c.execute("select person from scenes where id = ?", (scene,)).fetchone()
        not_too_many(c, "links", owner["person"])
        c.execute(
            "insert into links (token, scene, created, ends) values (?, ?, ?, ?)",
            (link.token, scene, now, link.ends),
        )
    return link


def links_of(db: Database, scene: str) -> list[Link]:
    """A scene's links that still hold, the oldest first."""
    rows = db.rows("select * from links where scene = ? and taken_back is null order by created", (scene,))
    return [link for link in (Link(**dict(r)) for r in rows) if link.holds]


def link_of(db: Database, token: str) -> Link | None:
    """The link with this token, whether or not it still holds; None if there never was one."""
    row = db.row("select * from links where token = ?", (token,))
    return None if row is None else Link(**dict(row))


def shown_by(db: Database, token: str) -> str | None:
    """The id of the scene that a link shows; None if it doesn't hold or its scene is in the bin."""
    row = db.row(
        "select links.* from links join scenes on scenes.id = links.scene "
        "where token = ? and scenes.deleted is null",
        (token,),
    )
    return row["scene"] if row is not None and Link(**dict(row)).holds else None


def take_back(db: Database, scene: str, token: str) -> None:
    """Ends a link now."""
    with db.change() as c:
        c.execute(
            "update links set taken_back = ? where token = ? and scene = ?", (time.time(), token, scene)
        )
