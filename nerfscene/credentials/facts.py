"""What credentials say of a file: a C2PA manifest made of ``Facts``."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nerfscene import __version__
from nerfscene.config import SourceType
from nerfscene.scene.scene import Scene
from nerfscene.scene.summary import scene_id

WHAT = "rendered by nerfscene from photographs"
# IPTC's "Digital Source Type" vocabulary, edition of 2025, which C2PA uses.
IPTC = "http://cv.iptc.org/newscodes/digitalsourcetype/"
TERMS: dict[SourceType, str] = {
    "captures": "compositeCapture",
    "computational": "computationalCapture",
    "composite": "composite",
    "synthetic": "compositeSynthetic",
    "virtual": "virtualRecording",
    "trained": "trainedAlgorithmicMedia",
}
RENDER = "org.nerfscene.render"  # the label of our own assertion
ACTIONS = "c2pa.actions.v2"


@dataclass(frozen=True)
class Facts:
    """What a file is.

    scene: the scene's ``scene_id``. photos: how many photos the scene was made of. kind: "film", "picture",
    "mesh" and so on. settings: what it was made with, as plain values; no paths, which are nobody's business.
    """

    scene: str
    photos: int
    kind: str
    settings: Mapping[str, Any] = field(default_factory=dict)


def facts_of(scene: Scene, kind: str, settings: Mapping[str, Any]) -> Facts:
    """The facts of something made from ``scene``."""
    photos = scene.figures.photos_posed or len({view.panorama or view.path for view in scene.views})
    return Facts(scene_id(scene), photos, kind, settings)


def manifest(name: str, facts: Facts, source: SourceType) -> dict[str, Any]:
    """The manifest for a file with this name or title, as c2pa's Builder takes it."""
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    action = {
        "action": "c2pa.created",
        "when": now,
        "digitalSourceType": IPTC + TERMS[source],
        "softwareAgent": {"name": "nerfscene", "version": __version__},
        "description": WHAT,
    }
    said = {
        "kind": facts.kind,
        "scene": facts.scene,
        "photos": facts.photos,
        "settings": dict(facts.settings),
    }
    plural = "" if facts.photos == 1 else "s"
    return {
        "claim_generator_info": [{"name": "nerfscene", "version": __version__}],
        "title": name,
        "assertions": [
            {"label": ACTIONS, "created": True, "data": {"actions": [action]}},
            {"label": RENDER, "created": True, "data": said},
        ],
        "ingredients": [{"title": f"{facts.photos} photograph{plural}", "relationship": "inputTo"}],
    }
