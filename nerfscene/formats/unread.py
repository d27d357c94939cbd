"""Recognises files with cameras that no reader here takes, so that nothing is passed over in silence.

Each entry of UNREAD is a form of cameras that people have beside their photos, and what to do to use them.
Sources: the programs' documentation and public files of each.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from nerfscene.capture.folder import name_some, natural_key

HEAD = 1 << 14  # bytes at the beginning of a file that are enough to recognise it
MOST_LOOKED_AT = 2000  # entries of a folder
TO_COLMAP = "export a COLMAP model, text or binary"
BY_KAPTURE = "let {} and then kapture_export_colmap, of the package kapture, write a COLMAP model"
TO_TRANSFORMS = "write them as a transforms.json"


@dataclass(frozen=True)
class Form:
    """A form of cameras.

    names: patterns of file names in lower case, in the folder itself or, with a slash, one folder deeper
    program: who writes it, in words
    way: what to do to use these cameras, as an order
    head: what the file's beginning holds; None: the name is enough
    """

    names: tuple[str, ...]
    program: str
    way: str
    head: re.Pattern[bytes] | None = None


def _rows_of(fewest: int, most: int) -> re.Pattern[bytes]:
    """A text that begins with a row of so many numbers, after any lines of comment."""
    number = rb"[-+.\deE]+"
    return re.compile(
        rb"\A(?:#[^\n]*\n)*\s*(?:%b[ \t,]+){%d,%d}%b[ \t]*\r?\n" % (number, fewest - 1, most - 1, number)
    )


UNREAD = (
    Form(("*.nvm",), "VisualSFM", BY_KAPTURE.format("kapture_import_nvm"), re.compile(rb"\A\s*NVM_V3")),
    Form(
        ("*.out", "bundle/*.out"),
        "Bundler",
        BY_KAPTURE.format("kapture_import_bundler"),
        re.compile(rb"\A# Bundle file"),
    ),
    Form(
        ("*.sfm", "*.json"),
        "Meshroom (AliceVision)",
        "have Meshroom's node ExportColmap write a COLMAP model",
        re.compile(rb'"poseId"'),
    ),
    Form(
        ("*.xml",),
        "BlocksExchange; none has a pose as a matrix",
        "export the block after the aerotriangulation, with rotations as matrices",
        re.compile(rb"<BlocksExchange"),
    ),
    Form(
        ("*.xml",),
        "Metashape; none has a pose",
        "align the photos in Metashape before you export the cameras",
        re.compile(rb"<document\b.*<chunk[\s>]", re.DOTALL),
    ),
    Form(("*.psx", "*.psz"), "a project of Metashape", "export the cameras from it as Agisoft XML"),
    Form(
        ("*.rcproj", "*.rsproj"),
        "a project of RealityCapture or RealityScan",
        "export the registration from it as Internal/External camera parameters",
    ),
    Form(
        (
            *("*.p4d", "*calibrated_external_camera_parameters.txt"),
            "params/*calibrated_external_camera_parameters.txt",
        ),
        "Pix4D",
        "take the project's calibrated_camera_parameters.txt, which has the lenses too",
    ),
    Form(
        ("*.csv",),
        "RealityCapture; no lenses",
        "export the registration as Internal/External camera parameters",
        re.compile(
            rb"\A(?:\xef\xbb\xbf)?(?:#\s*cameras[^\n]*\n)?#?\s*name([,;\t])\s*x(?:/lon)?\1\s*y[^\n]*\n"
            rb"[^\n]*\.\w{3,4}[\"']?\1",  # a photo: control points have names of their own
            re.IGNORECASE,
        ),
    ),
    Form(
        ("*.txt",),
        "Metashape's omega, phi, kappa; no lenses",
        "export the cameras as Agisoft XML",
        re.compile(rb"\A#[^\n]*\n?#?\s*PhotoID, X, Y, Z, Omega, Phi, Kappa"),
    ),
    Form(
        ("shots.geojson", "odm_report/shots.geojson"),
        "OpenDroneMap",
        "put opensfm/reconstruction.json of the project beside the photos",
    ),
    Form(("*.opf",), "Pix4D (OPF)", "convert it with opf2colmap, a command of the package pyopf[tools]"),
    Form(("cameras*.npz",), "IDR, NeuS or DTU", TO_TRANSFORMS, re.compile(rb"(?:world|scale|camera)_mat_")),
    Form(("metadata.json",), "mip-NeRF's multi-scale scenes", TO_TRANSFORMS, re.compile(rb'"file_path".*\[')),
    Form(("cams/*_cam.txt", "cameras/*_cam.txt"), "MVSNet", TO_COLMAP, re.compile(rb"\A\s*extrinsic")),
    Form(
        ("pose/*.txt", "poses/*.txt", "*.pose.txt", "extrinsics/*.txt"),
        "a data set with a text file for each pose",
        TO_TRANSFORMS,
        _rows_of(4, 4),
    ),
    Form(
        ("pose_intrinsic_imu.json", "iphone/pose_intrinsic_imu.json"),
        "ScanNet++",
        "give its undistorted photos with their transforms.json",
        re.compile(rb'"pose"|"aligned_pose"'),
    ),
    Form(("*.sens",), "ScanNet", "unpack it with ScanNet's SensReader first"),
    Form(
        ("*.jsonl",),
        "MultiScan",
        TO_TRANSFORMS,
        re.compile(rb'"transform".*"intrinsics"|"intrinsics".*"transform"'),
    ),
    Form(
        ("data.jsonl",),
        "a recording of Spectacular AI",
        "have its command sai-cli process it: the transforms.json that it writes is read",
    ),
    Form(("camerakeyframes.csv", "*.hfcs"), "CamTrackAR", TO_TRANSFORMS),
    Form(
        ("*.csv",),
        "a log of poses",
        TO_TRANSFORMS,
        re.compile(rb"\A\W*time\w*,(?=[^\n]*\bq_?w\b)(?![^\n]*\bframe\b)[^\n]*\bt?_?x\b", re.IGNORECASE),
    ),
    Form(
        ("*.csv",),
        "a table of poses",
        TO_TRANSFORMS,
        re.compile(
            rb"\A\W*(?:image|img|photo|file|frame|name)\w*\s*[,;](?=[^\n]*\bq_?w\b)[^\n]*\b(?:t_?|p_?|pos_?)?x\b",
            re.IGNORECASE,
        ),
    ),
    Form(
        ("*.json",),
        "cameras of Gaussian splatting",
        "put the COLMAP model that the splats were trained from beside the photos, as sparse/0",
        re.compile(rb'"img_name".*"rotation"|"rotation".*"img_name"', re.DOTALL),
    ),
    Form(
        ("camera/*.json",),
        "Nerfies or HyperNeRF",
        TO_TRANSFORMS,
        re.compile(rb'"orientation".*"focal_length"|"focal_length".*"orientation"', re.DOTALL),
    ),
    Form(
        ("*.json",),
        "a list of poses",
        TO_TRANSFORMS,
        # A camera path, which may lie beside the photos too, holds camera_to_world.
        re.compile(
            rb'\A(?!.*"(?:camera_path|keyframes)").*"(?:camera_?(?:pose|transform|to_?world)|cam_?(?:pose|2_?world|'
            rb'to_?world)|c2w|w2c|world_?(?:2|to|from)_?cam(?:era)?)\w*"\s*:\s*[\[{]',
            re.DOTALL | re.IGNORECASE,
        ),
    ),
    Form(("*.chan",), "Nuke's camera", TO_TRANSFORMS, _rows_of(7, 8)),
    Form(("arposes.txt",), "ios_logger", TO_TRANSFORMS),
    Form(("hmd_poses.csv", "*_camera_characteristics.json"), "Quest Reality Capture", TO_TRANSFORMS),
    Form(("*.traj",), "ARKitScenes", TO_TRANSFORMS, _rows_of(7, 7)),
    Form(
        ("*traj*.txt", "groundtruth*.txt", "*poses.txt", "odometry.txt", "*_sfm.log"),
        "a text file with a row for each pose",
        TO_TRANSFORMS,
        _rows_of(3, 20),
    ),
    Form(
        ("sensors/trajectories.txt",),
        "kapture",
        "let kapture_export_colmap write a COLMAP model",
        re.compile(rb"\A# kapture"),
    ),
)


def unread_in(root: Path) -> list[tuple[Path, Form]]:
    """The first file of each form in a folder, in the order of UNREAD; [] if there are none."""
    entries = list(_entries(root))
    found = []
    for form in UNREAD:
        fits = (p for name, p in entries if any(fnmatch(name, n) for n in form.names) and _is_form(p, form))
        first = next(fits, None)
        if first is not None:
            found.append((first, form))
    return found


def unread_form(path: Path) -> Form | None:
    """The form of a file that is given by itself; None if it is none of UNREAD."""
    names = path.name.lower(), f"{path.parent.name}/{path.name}".lower()
    fits = (f for f in UNREAD if any(fnmatch(name, pattern) for name in names for pattern in f.names))
    return next((form for form in fits if _is_form(path, form)), None)


def unread_warning(root: Path, below: Path | None = None) -> tuple[str, ...]:
    """One warning for all the cameras in a folder that can't be read; () if there are none.

    ``below``: the folder if it is not ``root`` but one in it; ``root`` then only names the files.
    """
    found = unread_in(root if below is None else below)
    if not found:
        return ()
    names = name_some([f"{path.relative_to(root)} ({form.program})" for path, form in found])
    form = found[0][1]
    return (
        f"{names} hold{'s' * (len(found) == 1)} cameras in a form that is not read, so the photos are posed "
        f"anew: to use these cameras, {form.way}.",
    )


def _entries(root: Path) -> Iterator[tuple[str, Path]]:
    """(name in lower case, path) of the files in a folder, and one folder deeper as "folder/file"."""
    if not root.is_dir():
        return
    try:
        own = sorted(root.iterdir(), key=lambda p: natural_key(p.name))[:MOST_LOOKED_AT]
    except OSError:
        return
    yield from ((p.name.lower(), p) for p in own if p.is_file() and p.name[0] != ".")
    folders = {name.partition("/")[0] for form in UNREAD for name in form.names if "/" in name}
    for folder in own:
        if folder.name.lower() in folders and folder.is_dir():
            inner = sorted(folder.iterdir(), key=lambda p: natural_key(p.name))[:MOST_LOOKED_AT]
            yield from ((f"{folder.name}/{p.name}".lower(), p) for p in inner if p.is_file())


def _is_form(path: Path, form: Form) -> bool:
    """Whether a file of the right name begins as the form does."""
    if form.head is None:
        return True
    try:
        with path.open("rb") as file:
            return form.head.search(file.read(HEAD)) is not None
    except OSError:
        return False
