"""The settings: one frozen dataclass per stage. A field's docstring is its text in ``--help``.

``--help`` keeps line breaks, so break lines only between sentences.

Making one of these raises TypeError for a value of the wrong type and NerfsceneError for one out of range.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nerfscene.given import check_ranges, check_settings, size_of
from nerfscene.keyed import check_numbers_by_key

Backend = Literal["auto", "cpu", "cuda", "torch", "tcnn"]
SourceType = Literal["captures", "computational", "composite", "synthetic", "virtual", "trained"]


@dataclass(frozen=True)
class PoseConfig:
    """How camera poses are estimated from the photos."""

    max_image_size: int = 1000
    """Longest side, in pixels, at which features are detected; larger photos are downscaled to this."""
    max_features: int = 4096
    """Largest number of features per photo; more help where there is little texture, but take longer."""
    matcher: Literal["auto", "exhaustive", "sequential"] = "auto"
    """exhaustive: compare every pair of photos. sequential: compare neighbours in the order of names.
    auto: compare every pair of up to 25 photos; of more photos, only the pairs that look promising."""
    seed: int = 0
    """Random seed; the same photos, settings and machine give the same cameras."""

    def __post_init__(self) -> None:
        check_settings(self)
        check_ranges(
            self,
            [
                ("max_image_size", 100 <= self.max_image_size <= 65536, "100 to 65536 pixels"),
                ("max_features", 100 <= self.max_features <= 10**6, "100 to 1000000"),
                ("seed", 0 <= self.seed < 2**31, "0 to 2147483647"),
            ],
        )


@dataclass(frozen=True)
class FootageConfig:
    """How many frames are taken from a video."""

    frames: int = 150
    """Largest number of frames to take from all videos together; a short video gives fewer."""

    def __post_init__(self) -> None:
        check_settings(self)
        check_ranges(self, [("frames", self.frames >= 3, "3 or more (50 to 200 work best)")])


@dataclass(frozen=True)
class FieldConfig:
    """The radiance field: a multi-resolution hash grid and small networks.

    Cut-outs are photos with a transparent background.
    """

    levels: int | None = None
    """Levels of the grid (1 to 16). When not given: 4; 8 for cut-outs on a GPU and photos from one side."""
    features: int | None = None
    """Features per hash-table entry: 2, 4 or 8. When not given: 8; 4 for cut-outs on a GPU and for photos
    from one side. A few wide levels suit a CPU's caches."""
    log2_table: int | None = None
    """log2 of the largest number of table entries per level (6 to 24).
    When not given: depends on the photos' size and the time, and is larger for cut-outs on a GPU."""
    base_resolution: int = 16
    """Cells along a side of the coarsest level."""
    finest_resolution: int | None = None
    """Cells along a side of the finest level.
    When not given: depends on the photos' size, and is larger for cut-outs on a GPU."""
    hidden: int = 32
    """Width of the density network's hidden layer: a multiple of 16 up to 128."""
    color: Literal["harmonics", "network"] = "harmonics"
    """How colour depends on the viewing direction: degree-2 spherical harmonics (fast) or a network."""
    color_hidden: int = 64
    """Width of the colour network's hidden layers: a multiple of 16 up to 128."""
    color_layers: int = 2
    """Hidden layers of the colour network: 1 or 2."""
    occupancy_resolution: int = 128
    """Cells along a side of the occupancy grid: a multiple of 32 up to 512."""

    def __post_init__(self) -> None:
        check_settings(self)
        finest = 128 if self.finest_resolution is None else self.finest_resolution
        width = "a multiple of 16 from 16 to 128"
        resolution = self.occupancy_resolution
        check_ranges(
            self,
            [
                ("levels", self.levels is None or 1 <= self.levels <= 16, "1 to 16"),
                ("features", self.features in (None, 2, 4, 8), "2, 4 or 8"),
                ("log2_table", self.log2_table is None or 6 <= self.log2_table <= 24, "6 to 24"),
                ("finest_resolution", 1 <= finest <= 65536, "1 to 65536"),
                ("base_resolution", 1 <= self.base_resolution <= finest, f"1 to {finest}"),
                ("hidden", self.hidden in range(16, 129, 16), width),
                ("color_hidden", self.color_hidden in range(16, 129, 16), width),
                ("color_layers", self.color_layers in (1, 2), "1 or 2"),
                ("occupancy_resolution", resolution in range(32, 513, 32), "a multiple of 32 from 32 to 512"),
            ],
        )


@dataclass(frozen=True)
class TrainConfig:
    """How long and in what detail to train."""

    time: float | None = None
    """Training time in seconds; overrides --quality's. Posing and reading the photos are not included."""
    steps: int | None = None
    """Number of training steps; overrides --quality's time.
    With --time as well, training ends at whichever is reached first."""
    quality: Literal["1min", "5min", "20min", "best"] = "5min"
    """How long to train; also downscales the photos to a longest side of 640, 1000, 1600 or 2400 pixels.
    best: until each of their pixels was seen 30 times on average, but for at most 4 hours."""
    downscale: float | None = None
    """Factor by which to downscale the photos (1 or more); overrides --quality's size."""
    holdout: int = 8
    """Keep every n-th photo out of training, to measure quality with; 0 keeps none out.
    Of fewer than 2n photos, only the middle one is kept out."""
    backend: Backend = "auto"
    """What computes. auto: cuda if it can be used, else cpu.
    cuda: nerfscene's own kernels on an NVIDIA GPU. cpu: its kernels on the processor.
    torch: plain PyTorch, slow but readable. tcnn: tiny-cuda-nn, if installed, with PyTorch around it."""
    threads: int = 0
    """CPU threads to use; 0 uses all. With 1 thread, the same seed gives the same scene again."""
    refine_cameras: bool = True
    """By default, the cameras of real photos are refined during training.
    Before training, cameras that came with the photos but don't fit them are moved.
    --no-refine-cameras leaves all cameras as they are."""
    seed: int = 0
    """Random seed."""

    def __post_init__(self) -> None:
        check_settings(self)
        time, factor = self.time, self.downscale
        check_ranges(
            self,
            [
                ("time", time is None or 0 < time < math.inf, "a number of seconds above 0"),
                ("steps", self.steps is None or self.steps > 0, "a number above 0"),
                ("downscale", factor is None or 1 <= factor < math.inf, "1 or more"),
                ("holdout", self.holdout == 0 or self.holdout > 1, "2 or more, or 0 for none"),
                ("threads", 0 <= self.threads <= 1024, "1 to 1024, or 0 for all"),
                ("seed", 0 <= self.seed < 2**32, "0 to 4294967295"),
            ],
        )


@dataclass(frozen=True)
class RenderConfig:
    """The film's camera path, size and content. By key: values at times in seconds, such as 0:60,8:35."""

    path: str = "auto"
    """orbit, spiral, walkthrough, dolly, figure-eight, turntable or boom.
    Or a file that the viewer, nerfstudio, instant-ngp, SuperSplat, splat-transform or Blender wrote.
    auto: walkthrough if the photos were taken walking forward or all around a room, otherwise orbit."""
    through: str | None = None
    """Instead of --path: photos to film from, one after the other, such as 0001.jpg,0017.jpg,0042.jpg."""
    loop: bool = False
    """With --through: go on from the last photo to the first."""
    look_at: str | None = None
    """What the camera always looks at: subject, a photo's name (for what is in its middle), or x,y,z."""
    path_transform: Path | None = None
    """nerfstudio's dataparser_transforms.json, which takes its path back to the capture's coordinates.
    For a path of instant-ngp: the transforms.json that it trained on.
    When not given: the one beside the path."""
    lens: Literal["perspective", "fisheye", "equirectangular", "stereo180", "orthographic"] | None = None
    """perspective, fisheye, equirectangular (360°), stereo180 (VR180, for two eyes) or orthographic.
    When not given: the path file's, or perspective."""
    fov: float | str | None = None
    """Field of view across the shorter side, in degrees, of a perspective or fisheye film.
    By key, the camera zooms: 0:60,8:35.
    When not given: the path file's, or as wide as the photos; of --lens fisheye 180."""
    roll: float | str | None = None
    """Degrees by which the picture is turned clockwise, or by key: 0:0,4:15,8:0."""
    view_width: float | None = None
    """Of an orthographic film: what its width shows, in world units. When not given: all of the subject."""
    eye_distance: float | None = None
    """Of a stereo180 film: the distance between the eyes, in world units.
    When not given: 0.063 if the scene has a scale, otherwise a thirtieth of the distance to the subject."""
    width: int | None = None
    """Width in pixels. With only a width or only a height, the photos' aspect ratio gives the other.
    With neither, the longer side is at most 960 pixels; of a film all round at most 3840."""
    height: int | None = None
    """Height in pixels."""
    fps: float | None = None
    """Frames per second. When not given: the path file's, or 30."""
    seconds: float | None = None
    """Length of the film in seconds. When not given: the path file's, or 8."""
    samples: int = 0
    """Rays along each side of a pixel (1 to 8); more rays reduce shimmering.
    0: chosen so that the film samples the scene no more coarsely than the photos do."""
    motion_blur: float = 0.0
    """Shutter angle in degrees: 180 is usual in films, and 360 keeps the shutter open from frame to frame."""
    aperture: float | str | None = None
    """Depth of field: the lens's f-number, such as 2.8, or by key; smaller numbers blur more.
    Films count as full-frame, and the photos of a scene without scale as taken from 1 metre away."""
    focus: str | None = None
    """With --aperture, what is sharp: subject, a photo's name (what is in its middle), x,y,z, or a distance.
    By key, the focus is pulled from one to the next: 0:0001.jpg,4:subject.
    When not given: the subject, or without one what is in the middle of the picture."""
    background: str = "auto"
    """What is behind the scene: a colour such as white or #20303f, or transparent where files keep that.
    auto: what the viewer shows there."""
    exposure: float | str | None = None
    """Stops by which the film is brighter, or darker if below 0; each doubles or halves the light.
    By key: 0:0,4:-1."""
    depth: bool = False
    """Film the depth, in false colours, instead of the picture; PNG frames also get 16-bit depth pictures."""
    passes: str | None = None
    """Also written beside PNG frames, for compositing: some of depth,normal,accumulation."""
    passes_as: Literal["exr", "png"] = "exr"
    """The passes' files. exr: OpenEXR with 32-bit floats. png: 16 bits."""
    codec: Literal["h264", "h265", "av1", "vp9", "prores", "ffv1", "gif", "webp"] | None = None
    """How the film is encoded, where its ending leaves a choice. prores is ProRes 4444.
    When not given: .mp4, .mov, .mkv h264; .webm vp9; .gif gif; .webp webp."""
    preset: Literal["social", "hd", "4k", "gif", "prores"] | None = None
    """Size, frames per second and codec in a word; options given beside it count more.
    social: 1080×1080. hd: 1920×1080. 4k: 3840×2160. All three are H.264 with 30 frames a second.
    gif: 480 wide, 12.5 a second. prores: 1920×1080, 30 a second, ProRes 4444 in .mov, for editing."""
    preview: bool = False
    """A quick look: a quarter of the pixels and every third frame; the film takes as long to watch."""
    backend: Backend = "auto"
    """What computes: the choices of nerfscene train."""
    threads: int = 0
    """CPU threads to use; 0 uses all."""

    def __post_init__(self) -> None:
        check_settings(self)
        check_numbers_by_key(self, ("fov", "roll", "aperture", "exposure"))
        fps, seconds = self.fps, self.seconds
        sides = [(name, getattr(self, name)) for name in ("width", "height")]
        lengths = [(name, getattr(self, name)) for name in ("view_width", "eye_distance")]
        check_ranges(
            self,
            [
                *((name, n is None or 16 <= n <= 8192, "16 to 8192 pixels") for name, n in sides),
                *((name, n is None or 1e-12 <= n <= 1e12, "world units above 0") for name, n in lengths),
                ("fps", fps is None or 0 < fps <= 3600, "above 0 and at most 3600"),
                ("seconds", seconds is None or 0 < seconds <= 3600, "above 0 and at most 3600"),
                ("samples", 0 <= self.samples <= 8, "1 to 8, or 0 for as many as needed"),
                ("motion_blur", 0 <= self.motion_blur <= 360, "0 to 360 degrees"),
                ("threads", 0 <= self.threads <= 1024, "1 to 1024, or 0 for all"),
            ],
        )


@dataclass(frozen=True)
class CredentialsConfig:
    """What a film or export says of itself: signed content credentials (C2PA)."""

    credentials: bool = True
    """Sign what is written as rendered from photos; this needs c2pa-python.
    Films and pages are signed by default, which --no-credentials turns off."""
    source_type: SourceType = "captures"
    """What the credentials call it. captures: a composite of captures of real life.
    computational: a computational capture. composite: several elements. synthetic: some of them synthetic.
    virtual: a recording of a virtual world. trained: made by a trained model."""
    credentials_key: Path | None = None
    """PEM file with the private key and certificates to sign with.
    When not given: the file that NERFSCENE_CREDENTIALS_KEY names, or a key made on this machine."""

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True)
class ExportConfig:
    """What an export writes, and how much of it."""

    world: Literal["upright", "capture"] = "upright"
    """upright: the world set in the viewer; if none was set, one whose +z is up, about the subject's middle.
    capture: the coordinates in which the cameras came."""
    faces: int = 100_000
    """Of a mesh: the largest number of triangles."""
    texture: int = 4096
    """Of a mesh: the texture's side in pixels; 0: colours at the vertices instead."""
    holes: float = 0.05
    """Of a mesh: holes up to this wide are closed, as a share of the subject's size; 0: none."""
    count: int | None = None
    """How many points (1,000,000 when not given) or splats (at most 500,000 when not given)."""
    degree: int = 1
    """Of splats: the degree of their spherical harmonics (0 to 3), by which colours depend on the view."""
    fit: float = 0.0
    """Of splats: seconds to fit them to photos."""
    photos: bool = False
    """With cameras: also write the photos, without lens distortion."""
    cameras: Literal["both", "transforms", "colmap", "colmap-text"] = "both"
    """Which files of cameras go into a folder. transforms: nerfstudio's transforms.json.
    colmap: COLMAP's model in sparse/0. colmap-text: the same as text files. both: transforms and colmap."""
    backend: Backend = "auto"
    """What computes: the choices of nerfscene train."""
    threads: int = 0
    """CPU threads to use; 0 uses all."""

    def __post_init__(self) -> None:
        check_settings(self)
        count = self.count
        check_ranges(
            self,
            [
                ("faces", 100 <= self.faces <= 10**7, "100 to 10000000"),
                ("texture", self.texture == 0 or 64 <= self.texture <= 16384, "64 to 16384 pixels, or 0"),
                ("holes", 0 <= self.holes <= 10, "0 to 10"),
                ("count", count is None or 100 <= count <= 10**8, "100 to 100000000"),
                ("degree", 0 <= self.degree <= 3, "0 to 3"),
                ("fit", 0 <= self.fit <= 86400, "0 to 86400 seconds"),
                ("threads", 0 <= self.threads <= 1024, "1 to 1024, or 0 for all"),
            ],
        )


@dataclass(frozen=True)
class PageConfig:
    """A page to send: what it says, and how large it may be."""

    title: str = ""
    """The page's title. When not given: the scene's name."""
    date: str = ""
    """The date under the title, written as you like."""
    single: bool = False
    """Write one HTML file instead of a folder."""
    limit: str = "20MB"
    """How large the whole page may be, such as 20MB; it chooses how many splats it has, and how exact."""
    path: str = "auto"
    """The camera path to play: the choices of nerfscene render.
    auto: the path saved in the viewer; if there is none, the film's."""
    backend: Backend = "auto"
    """What computes: the choices of nerfscene train."""
    threads: int = 0
    """CPU threads to use; 0 uses all."""

    def __post_init__(self) -> None:
        check_settings(self)
        size = size_of(self.limit)
        check_ranges(
            self,
            [
                ("limit", size is not None and 3 * 10**6 <= size <= 10**9, "3MB to 1GB, such as 20MB"),
                ("threads", 0 <= self.threads <= 1024, "1 to 1024, or 0 for all"),
            ],
        )


@dataclass(frozen=True)
class ServeConfig:
    """The server of ``nerfscene serve``: what it takes, and how much of the machine."""

    host: str = "127.0.0.1"
    """The address to serve on; 0.0.0.0 lets phones and others in the network reach it."""
    port: int = 8000
    """The port; if it is taken, the next free one."""
    url: str = ""
    """The address that others reach it by, such as https://scenes.example.org, if a proxy is in front."""
    jobs: int = 1
    """Trainings, films and exports that run at the same time; the others wait for their turn."""
    quota: str = "20GB"
    """How much each person may keep, unless they were given another quota."""
    total: str = "200GB"
    """How much all may keep together."""
    spare: str = "2GB"
    """Disk space to leave free; with less, uploads are refused and the queue waits."""
    longest: float = 7200.0
    """The longest training that can be asked for, in seconds; 60 or more."""
    idle: float = 300.0
    """Seconds after which a viewer that nobody looks at is ended."""
    ray: str = ""
    """Run the jobs on the Ray cluster at this address, such as ray://head:10001; auto: one on this machine.
    Its machines must see the server's folder at the same path."""
    threads: int = 0
    """CPU threads of each job; 0 uses all."""

    def __post_init__(self) -> None:
        check_settings(self)
        sizes = [(name, size_of(getattr(self, name))) for name in ("quota", "total", "spare")]
        check_ranges(
            self,
            [
                ("port", 0 <= self.port <= 65535, "0 to 65535; 0 takes any free one"),
                (
                    "url",
                    not self.url or self.url.startswith(("http://", "https://")),
                    "http://… or https://…",
                ),
                ("jobs", 1 <= self.jobs <= 64, "1 to 64"),
                *((name, size is not None, "a size such as 20GB") for name, size in sizes),
                ("longest", 60 <= self.longest <= 10**7, "60 to 10000000 seconds"),
                ("idle", 5 <= self.idle <= 10**7, "5 to 10000000 seconds"),
                ("threads", 0 <= self.threads <= 1024, "1 to 1024, or 0 for all"),
            ],
        )
