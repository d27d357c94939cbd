"""What programs send, and what they are answered beside ``facts``. Unknown fields are refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field

Most = 2**63 - 1  # that SQLite can keep
Cameras = Literal[
    "auto", "saved", "orbit", "spiral", "walkthrough", "dolly", "figure-eight", "turntable", "boom"
]
ByKey = float | Annotated[str, Field(max_length=1000)] | None
Id = Annotated[str, Path(max_length=64, description="Its id.")]
Coordinate = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]
Length = Annotated[float, Field(ge=1e-6, le=1e6, allow_inf_nan=False)]


class Sent(BaseModel):
    """The body of a request."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    def given(self) -> dict[str, Any]:
        """The fields that were sent."""
        return self.model_dump(exclude_unset=True, exclude_none=True)


class Training(Sent):
    """How long and in what detail to train; what isn't given is as with `nerfscene train`."""

    time: float | None = None
    """Seconds of training; overrides quality's."""
    quality: Literal["1min", "5min", "20min"] | None = None
    """How long to train, and how large the photos are taken."""
    steps: int | None = None
    """Training steps; overrides quality's time."""
    seed: int | None = None
    """Random seed."""
    refine_cameras: bool | None = None
    """Whether training may move the cameras that were found."""


class Train(Training):
    """A training to begin."""

    more: bool = False
    """Go on with the scene that is there, up to the time given, instead of from the start."""


class Film(Sent):
    """A film to make; what isn't given is as with `nerfscene render`."""

    path: Cameras | None = None
    """The camera's way; saved: the one saved in the viewer."""
    through: str | None = Field(None, max_length=20_000)
    """Instead of path: photos to film from, such as 0001.jpg,0017.jpg."""
    loop: bool | None = None
    """With through: go on from the last photo to the first."""
    look_at: str | None = Field(None, max_length=1000)
    """What the camera always looks at: subject, a photo's name, or x,y,z."""
    width: int | None = None
    """Pixels, 16 to 4096."""
    height: int | None = None
    """Pixels, 16 to 4096."""
    fps: float | None = None
    """Frames a second."""
    seconds: float | None = None
    """The film's length."""
    samples: int | None = None
    """Rays along each side of a pixel, 1 to 8; 0: as many as needed."""
    preset: Literal["social", "hd", "4k", "gif", "prores"] | None = None
    """Size, frames a second and codec in a word."""
    ending: str | None = Field(None, max_length=20)
    """The file's: mp4, mov, mkv, webm, gif or webp."""
    codec: Literal["h264", "h265", "av1", "vp9", "prores", "ffv1", "gif", "webp"] | None = None
    """How the film is encoded, where its ending leaves a choice."""
    lens: Literal["perspective", "fisheye", "equirectangular", "stereo180", "orthographic"] | None = None
    """What the film is taken with."""
    fov: ByKey = None
    """Degrees across the shorter side, or by key, such as 0:60,8:35."""
    roll: ByKey = None
    """Degrees by which the picture is turned clockwise, or by key."""
    view_width: float | None = None
    """Of an orthographic film: what its width shows, in world units."""
    eye_distance: float | None = None
    """Of a stereo180 film: the distance between the eyes, in world units."""
    motion_blur: float | None = None
    """Shutter angle in degrees, 0 to 360; 180 is usual."""
    aperture: ByKey = None
    """Depth of field: an f-number such as 2.8, or by key."""
    focus: str | None = Field(None, max_length=1000)
    """With aperture, what is sharp: subject, a photo's name, x,y,z, or a distance; or by key."""
    exposure: ByKey = None
    """Stops by which the film is brighter, or by key."""
    background: str | None = Field(None, max_length=100)
    """A colour such as white or #20303f, transparent, or auto."""
    preview: bool | None = None
    """A quick look: a quarter of the pixels, and every third frame."""


class Export(Sent):
    """A file for other programs; what isn't given is as with `nerfscene export`."""

    to: Literal["mesh", "points", "cameras", "splats"]
    """What the file holds."""
    ending: str = Field(max_length=20)
    """The file's format, such as glb; cameras: json, or zip for a folder."""
    world: Literal["upright", "capture"] | None = None
    """Its coordinates: +z up, or as the cameras came."""
    faces: int | None = None
    """Of a mesh: the largest number of triangles."""
    texture: int | None = None
    """Of a mesh: the texture's side in pixels; 0: colours at the vertices."""
    holes: float | None = None
    """Of a mesh: holes up to this wide are closed, as a share of the subject's size."""
    count: int | None = None
    """How many points or splats."""
    degree: int | None = None
    """Of splats: the degree of their spherical harmonics, 0 to 3."""
    photos: bool | None = None
    """With cameras: also the photos, without lens distortion."""
    cameras: Literal["both", "transforms", "colmap", "colmap-text"] | None = None
    """Which files of cameras."""


class Page(Sent):
    """The page to send, made again; what isn't given is as with `nerfscene share`."""

    title: str | None = Field(None, max_length=200)
    """Its title."""
    date: str | None = Field(None, max_length=200)
    """The date under the title."""
    limit: str | None = Field(None, max_length=20)
    """How large it may be, such as 20MB."""
    path: Cameras | None = None
    """The camera's way that it plays."""


class NewScene(Sent):
    """A scene to begin."""

    title: str = Field(max_length=1000)
    """Its title; the first 120 letters are kept."""
    settings: Training | None = None
    """Of its training, which can still be changed when it begins."""


class SceneChange(Sent):
    """What changes of a scene; what isn't sent stays."""

    title: str | None = Field(None, max_length=1000)
    """Its title."""
    webhook: str | None = Field(None, max_length=2000)
    """An address that gets a POST when its work ends; empty for none."""


class Crop(Sent):
    """The upright box to which a scene is cropped, in the upright world of exports: +z is up."""

    size: tuple[Length, Length, Length]
    """Width, depth and height (x, y, z before the turn)."""
    centre: tuple[Coordinate, Coordinate, Coordinate] = (0.0, 0.0, 0.0)
    """Its middle. In a world that nobody has set, (0, 0, 0) is the subject's."""
    turn: float = Field(0.0, ge=-360, le=360, allow_inf_nan=False)
    """Degrees that it is turned about +z, counterclockwise seen from above."""


class NewLink(Sent):
    """A link to make."""

    days: float | None = Field(None, gt=0, le=36500, allow_inf_nan=False)
    """Days after which it ends; never if not given."""


class NewPerson(Sent):
    """A person to invite."""

    name: str = Field(max_length=1000)
    """Their name, which no one else may have; the first 60 letters are kept."""
    role: Literal["owner", "guest"]
    """owner: has scenes of their own. guest: looks at yours."""
    quota: Annotated[int, Field(ge=0, le=10**15)] | Annotated[str, Field(max_length=20)] | None = None
    """How much they may keep: bytes, or a size such as 20GB. Not given: the server's usual quota."""


@dataclass(frozen=True)
class Refusal:
    """Why a request was refused. detail: one sentence."""

    detail: str


@dataclass(frozen=True)
class Me:
    """Who asks. first: whether they may invite people; quota, used, left: bytes, of all that they keep; left
    is less where the server is full; longest: the most seconds that a training may last here; pause: why no
    work is begun at the moment, one sentence, or ""."""

    id: str
    name: str
    role: Literal["owner", "guest"]
    first: bool
    quota: int
    used: int
    left: int
    longest: float
    pause: str


@dataclass(frozen=True)
class PersonFacts:
    """Someone who may log in. quota, used, left: bytes."""

    id: str
    name: str
    role: Literal["owner", "guest"]
    first: bool
    quota: int
    used: int
    left: int


@dataclass(frozen=True)
class KeyFacts:
    """A person's new key, which is told only now. address: by which they log in, on this server."""

    id: str
    name: str
    key: str
    address: str


@dataclass(frozen=True)
class Note:
    """A note that hasn't been put away. created: seconds since 1970."""

    id: int
    scene: str
    text: str
    created: float
