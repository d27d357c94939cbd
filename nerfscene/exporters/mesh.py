"""Exports a scene as a textured mesh: GLB, OBJ, PLY, STL or USDZ.

Depths seen from the photos' cameras are fused into a surface (``mesh_fusion``, ``mesh_surface``), which is
unwrapped (``mesh_unwrap``), coloured from the field (``mesh_texture``) and written (``mesh_files``,
``mesh_usd``).
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nerfscene.config import ExportConfig
from nerfscene.errors import NerfsceneError
from nerfscene.exporters import mesh_files
from nerfscene.exporters.mesh_depths import DepthPicture, chosen_views, depth_pictures, points_of
from nerfscene.exporters.mesh_files import Mesh
from nerfscene.exporters.mesh_fusion import Floats, Warp, fuse
from nerfscene.exporters.mesh_surface import (
    Surface,
    clipped,
    closed,
    cut,
    simplified,
    smoothed,
    vertex_normals,
    weights_at,
    without_loose,
)
from nerfscene.exporters.mesh_texture import baked, colours_at, mean_density, seen_from
from nerfscene.exporters.mesh_unwrap import unwrapped
from nerfscene.exporters.placement import placed
from nerfscene.exporters.told import Told, needed
from nerfscene.field.rendering import Renderer
from nerfscene.films.export_world import Y_UP_FROM_Z_UP
from nerfscene.ops import backend
from nerfscene.scene.atomic import remove_leftovers, telling, writing
from nerfscene.scene.scene import Scene

ENDINGS = (".glb", ".obj", ".ply", ".stl", ".usdz")
TEXTURED = (".glb", ".obj", ".usdz")
Y_UP = (".glb", ".obj", ".usdz")  # formats that have +y up; the others keep the world's axes
CELLS_A_PIXEL, FEWEST_CELLS, MOST_CELLS = 0.6, 96, 384  # along the subject's box, by the photos' size
REACH = 8.0  # half the subject's box, up to which the surroundings are exported
LEAST_WEIGHT = 0.02  # little, as ``without_loose`` drops what hovers where few photos look
ROUNDS = 4  # of smoothing
FAR, FAR_ROUNDS = 1.1, 20  # further ones for what lies this far from the subject's middle, cells' units
WORTH_TELLING = 0.01


def write_mesh(scene: Scene, file: Path, config: ExportConfig, told: Told) -> dict[str, Any]:
    """Writes the scene's surface; returns the file, its numbers of vertices and faces, and what was left out.

    The file's ending chooses the format. GLB, OBJ and USDZ have +y up, PLY and STL the world's +z;
    with the world "capture", all have the capture's own axes. OBJ comes with a .mtl file and a .png beside it
    that have its name. PLY has colours at its vertices instead of a texture, and STL has none.
    Raises NerfsceneError for another ending, a missing package, a scene without a surface, or a folder that
    can't be written, and what ``told.progress`` raises.
    """
    ending = file.suffix.lower()
    if ending not in ENDINGS:
        raise NerfsceneError(f"{file} can't be a mesh; choose a name that ends with {', '.join(ENDINGS)}")
    needed("fast_simplification", "export", "a mesh")
    if ending == ".usdz":
        needed("pxr", "export", "a USDZ file")
    remove_old(file)
    probe = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    with telling(file):  # before the work, not after it
        probe.touch()
        probe.unlink()
    side = config.texture if ending in TEXTURED else 0
    mesh, numbers = mesh_of(scene, side, ending != ".stl", config, told)
    told.progress("writing the mesh", 0.0)
    written = write_file(turned_for(file, mesh, config), file)
    told.progress("writing the mesh", 1.0)
    return {"file": str(file), "files": [str(f) for f in written], **numbers}


def mesh_of(
    scene: Scene, side: int, in_colour: bool, config: ExportConfig, told: Told
) -> tuple[Mesh, dict[str, Any]]:
    """The scene's mesh with the axes of ``config.world``, and its numbers, as ``write_mesh`` returns them.

    side: of the texture, in texels; 0: colours at the vertices. in_colour: False for the shape alone.
    Raises NerfsceneError for a scene without a surface, and what ``told.progress`` raises.
    """
    scene = placed(scene, config.world)
    renderer = scene.photo_renderer(config.backend, config.threads)
    pictures = depth_pictures(renderer, chosen_views(scene.views), told)
    return mesh_from(scene, renderer, pictures, side, in_colour, config, told)


def mesh_from(
    scene: Scene,
    renderer: Renderer,
    pictures: list[DepthPicture],
    side: int,
    in_colour: bool,
    config: ExportConfig,
    told: Told,
) -> tuple[Mesh, dict[str, Any]]:
    """``mesh_of`` from depths that are there, of a scene that is placed as the mesh is to be."""
    reach = REACH if renderer.field.space.unbounded else 1.0
    warp = Warp(scene.scene_from_world, 2.0 / cells_for(scene), reach)
    surface, holes = surface_of(pictures, warp, scene.crop, config, told)
    beyond = share_beyond(pictures, warp)
    if beyond > WORTH_TELLING and scene.crop is None:
        told.warn(
            f"{beyond:.0%} of what the photos show is farther away than {REACH:g} times the subject's size "
            "and is not part of the mesh"
        )
    mesh = coloured(renderer, pictures, surface, warp, side, in_colour, told)
    return mesh, {
        "vertices": len(mesh.vertices),
        "faces": len(mesh.faces),
        "texture": 0 if mesh.texture is None else mesh.texture.shape[0],
        "holes_closed": holes,
        "beyond": round(beyond, 4),
    }


def cells_for(scene: Scene) -> float:
    """Cells along the subject's box that resolve as much as the photos do."""
    side = np.median([np.sqrt(v.intrinsics.width * v.intrinsics.height) for v in scene.views])
    return float(np.clip(round(CELLS_A_PIXEL * side), FEWEST_CELLS, MOST_CELLS))


def surface_of(
    pictures: list[DepthPicture],
    warp: Warp,
    crop: NDArray[np.float64] | None,
    config: ExportConfig,
    told: Told,
) -> tuple[Surface, int]:
    """The surface in world coordinates, and the number of holes that were closed.

    crop: world_from_box (4, 4), or None. Raises NerfsceneError if nothing is there.
    """
    volume = fuse(pictures, warp, backend.thread_count(config.threads), told)
    told.progress("cutting the surface", 0.0)
    surface = cut(volume, LEAST_WEIGHT)
    told.progress("closing holes", 0.2)
    surface = without_loose(surface, weights_at(volume, surface.vertices))
    del volume
    surface, holes = closed(surface, config.holes * 2 / warp.cell)
    told.progress("smoothing", 0.3)
    far = np.abs(surface.vertices - warp.middle).max(1) > FAR / warp.cell
    surface = smoothed(surface, ROUNDS, far, FAR_ROUNDS)
    if crop is not None:
        world = Surface(warp.to_world(surface.vertices), surface.faces)
        world = clipped(world, np.linalg.inv(crop).astype(np.float64))
        surface = without_loose(Surface(warp.to_cells(world.vertices), world.faces))
    told.progress("simplifying", 0.4)
    # In the cells' coordinates, so that the surroundings get no more faces than their detail is worth.
    surface = simplified(surface, config.faces)
    if not len(surface.faces):
        part = (
            "; train it longer or with more photos"
            if crop is None
            else " in its crop; widen that in the viewer"
        )
        raise NerfsceneError(f"the scene has no surface that its photos see{part}")
    return Surface(warp.to_world(surface.vertices), surface.faces), holes


def share_beyond(pictures: list[DepthPicture], warp: Warp) -> float:
    """The share of all depths that lie farther away than the cells reach."""
    beyond = known = 0
    for picture in pictures:
        points = points_of(picture)[picture.weight > 0][::7]
        m = warp.scene_from_world
        beyond += int((np.abs(points @ m[:3, :3].T + m[:3, 3]).max(-1, initial=0) > warp.reach).sum())
        known += len(points)
    return beyond / max(known, 1)


def coloured(
    renderer: Renderer,
    pictures: list[DepthPicture],
    surface: Surface,
    warp: Warp,
    side: int,
    in_colour: bool,
    told: Told,
) -> Mesh:
    """The surface with a texture of ``side`` texels, or with colours at its vertices if that is 0."""
    vertices, faces = surface.vertices, surface.faces
    normals = vertex_normals(vertices, faces)
    if not in_colour:
        return Mesh(vertices, normals, faces)
    toward, finest = seen_from(pictures, vertices, normals, warp, told)
    if side == 0:
        rgb, counts = colours_at(renderer, vertices, toward, warp, told)
        shades = np.round(_from_neighbours(rgb, counts, faces) * 255).astype(np.uint8)
        return Mesh(vertices, normals, faces, colours=shades)
    told.progress("unwrapping", 0.0)
    atlas = unwrapped(vertices, faces, mean_density(finest, faces), side)
    texture = baked(renderer, atlas, toward[atlas.origin], warp, told)
    uv = (atlas.texels / side).astype(np.float32)
    return Mesh(atlas.vertices, normals[atlas.origin], atlas.faces, uv=uv, texture=texture)


def _from_neighbours(rgb: Floats, known: NDArray[np.bool_], faces: NDArray[np.int64]) -> Floats:
    """Colours (n, 3), with those of vertices that have none taken from vertices beside them."""
    rgb, known = rgb.copy(), known.copy()
    a, b = faces[:, [0, 1, 2, 1, 2, 0]].ravel(), faces[:, [1, 2, 0, 0, 1, 2]].ravel()
    for _ in range(50):
        of = known[a] & ~known[b]
        if not of.any():
            break
        count = np.bincount(b[of], minlength=len(rgb))
        new = count > 0
        for c in range(3):
            rgb[new, c] = np.bincount(b[of], rgb[a[of], c], len(rgb))[new] / count[new]
        known |= new
    return rgb


def turned_for(file: Path, mesh: Mesh, config: ExportConfig) -> Mesh:
    """The mesh with the axes that a file of this ending has."""
    if file.suffix.lower() not in Y_UP or config.world == "capture":
        return mesh
    r = Y_UP_FROM_Z_UP[:3, :3].astype(np.float32)
    return Mesh(mesh.vertices @ r.T, mesh.normals @ r.T, mesh.faces, mesh.uv, mesh.texture, mesh.colours)


def write_file(mesh: Mesh, file: Path) -> list[Path]:
    """Writes the mesh in the format of the file's ending; returns the files it wrote.

    Raises NerfsceneError if they can't be written.
    """
    ending = file.suffix.lower()
    if ending == ".obj" and mesh.texture is not None:
        material, texture = file.with_suffix(".mtl"), file.with_suffix(".png")
        with writing(file) as one, writing(material) as two, writing(texture) as three:
            mesh_files.write_obj(mesh, one, two, three, (material.name, texture.name))
        return [file, material, texture]
    with writing(file) as temporary:
        if ending == ".usdz":
            from nerfscene.exporters.mesh_usd import write_usdz

            with parts_folder(file) as folder:
                write_usdz(mesh, temporary, folder, 1.0)
        elif ending == ".obj":
            mesh_files.write_obj(mesh, temporary, None, None, ("", ""))
        else:
            {".glb": mesh_files.write_glb, ".ply": mesh_files.write_ply, ".stl": mesh_files.write_stl}[
                ending
            ](mesh, temporary)
    return [file]


@contextlib.contextmanager
def parts_folder(file: Path) -> Iterator[Path]:
    """An empty folder beside a file for its parts, removed afterwards."""
    folder = file.with_name(f".{file.name}.{os.getpid()}.parts")
    with telling(file):
        folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_old(file: Path) -> None:
    """Removes what killed exports to this file left beside it."""
    for name in (file.name, file.with_suffix(".mtl").name, file.with_suffix(".png").name):
        remove_leftovers(file.parent, name)
    for folder in file.parent.glob(f".{file.name}.*.parts"):
        shutil.rmtree(folder, ignore_errors=True)
