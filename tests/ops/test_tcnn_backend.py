"""The tcnn backend computes the same model, with a stand-in for tiny-cuda-nn and with the real one.

Encodings, activations and gradients are binary16 there, so agreement with the oracle is to some units of
2^-11, as with the CUDA kernels; with the stand-in in float32, the mapping alone is left, and is exact.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tinycudann_standin as standin
import torch
import training_steps as steps
from grid_cases import GRIDS, encode, position_error
from half_checks import HALF, check_evaluate, check_evaluate_backward, check_step_gradients
from kernel_cases import (
    EPS,
    assert_close,
    assert_close_but_for_flips,
    double,
    make_case,
    random_directions,
    random_points,
    random_rays,
    traced,
)
from network_cases import NETWORKS, evaluate, networks, oracle
from refusals import Refused, nothing_in
from training_steps import small_steps

from nerfscene import api, doctor
from nerfscene.cameras.algebra import scaled
from nerfscene.config import FieldConfig, TrainConfig
from nerfscene.errors import NerfsceneError
from nerfscene.field.rendering import render
from nerfscene.ops import backend, tcnn_backend, tcnn_layout, torch_backend
from nerfscene.ops import reference as ref
from nerfscene.ops.layout import GridLayout, grid_layout, network_shapes
from nerfscene.ops.torch_arrays import using_threads
from nerfscene.scene import folder as scene
from nerfscene.types import Camera

STANDIN, REAL = "stand-in", "tiny-cuda-nn"
# The last two have a level that we hash, while tiny-cuda-nn's grid, one vertex smaller, would be dense.
EVERY_GRID = [*GRIDS, (1, 4, 12, 15, 15), (2, 2, 12, 14, 15)]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """One thread for torch: several spin while they wait, which takes minutes on a busy machine."""
    with using_threads(1):
        yield


@pytest.fixture(params=[STANDIN, pytest.param(REAL, marks=pytest.mark.gpu)])
def tcnn(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The tcnn backend computing in half precision, with the stand-in and with the real package."""
    if request.param == STANDIN:
        monkeypatch.setitem(sys.modules, "tinycudann", standin)
    elif backend.why_no_tcnn():
        pytest.skip(str(backend.why_no_tcnn()))
    yield backend.load("tcnn")


@pytest.fixture
def exact(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The tcnn backend with a stand-in that computes in float32, so only the mapping can differ."""
    monkeypatch.setitem(sys.modules, "tinycudann", standin)
    monkeypatch.setattr(standin, "precision", torch.float)
    return backend.load("tcnn")


def public(thing: Any) -> set[str]:
    return {name for name in dir(thing) if not name.startswith("_")}


# --- the mapping ----------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", EVERY_GRID)
def test_grids_survive_the_round_trip(tcnn: Any, shape: tuple[int, ...]) -> None:
    case = make_case(1, *shape)
    modules = tcnn.make_modules(case.grid, case.shapes)
    table = torch.from_numpy(case.master)
    parameters = tcnn_layout.grid_parameters(table, case.grid, modules.levels)
    assert [p.numel() for p in parameters] == [m.params.numel() for m in modules.encodings]
    back = tcnn_layout.table_of(parameters, case.grid)
    assert back.shape == table.shape
    for level, first in enumerate(case.grid.offset):
        vertices = (case.grid.resolution[level] + 2) ** 3
        read = case.grid.size[level] if case.grid.hashed[level] else vertices
        assert torch.equal(back[first : first + read], table[first : first + read])


@pytest.mark.parametrize("shape", NETWORKS)
def test_weights_survive_the_round_trip(tcnn: Any, shape: tuple[int, ...]) -> None:
    case = networks(shape)
    modules = tcnn.make_modules(case.grid, case.shapes)
    weights = torch.from_numpy(case.weights)
    parameters = tcnn_layout.network_parameters(weights, case.shapes)
    assert [p.numel() for p in parameters] == [m.params.numel() for m in modules.networks]
    assert torch.equal(tcnn_layout.weights_of(parameters, case.shapes), weights)


@pytest.mark.parametrize("shape", EVERY_GRID)
def test_encodings_are_the_same(exact: Any, shape: tuple[int, ...]) -> None:
    case = make_case(1, *shape)
    points = random_points(1000, 2)
    expected = ref.hash_encode(*double(points, case.master), case.grid).numpy()
    # On dense levels the backend scales the points first, by a rounded factor.
    tolerance = 12 * position_error(case) + 24 * EPS
    assert (np.abs(encode(exact, case, points) - expected) <= tolerance).all()


@pytest.mark.parametrize("shape", NETWORKS)
def test_networks_are_the_same(exact: Any, shape: tuple[int, ...]) -> None:
    case = networks(shape)
    points, directions = random_points(500, 1), random_directions(500, 2)
    density, rgb = evaluate(exact, case, points, directions)
    _, _, expected_density, expected_rgb = oracle(case, points, directions)
    assert_close(density, expected_density.detach(), atol=1e-6, rtol=1e-4)
    assert_close(rgb, expected_rgb.detach(), atol=2e-5)


def test_a_level_that_tiny_cuda_nn_cannot_have_is_refused(tcnn: Any) -> None:
    roomy = GridLayout(2, (4,), (4096,), (True,))  # hashed, though all of its vertices would fit
    vast = GridLayout(2, (1700,), (1702**3,), (False,))
    for grid in (roomy, vast):
        with pytest.raises(NerfsceneError, match="use --backend cuda"):
            tcnn.make_modules(grid, network_shapes(16, 32, 32, 0))


def test_another_layout_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Padded(standin.Encoding):
        def __init__(self, n: int, settings: dict[str, Any]) -> None:
            super().__init__(n, settings | {"n_levels": 2})

    monkeypatch.setitem(sys.modules, "tinycudann", standin)
    monkeypatch.setattr(standin, "Encoding", Padded)
    with pytest.raises(NerfsceneError, match="another layout"):
        make_case().field(tcnn_backend)


def test_what_tiny_cuda_nn_refuses_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*arguments: Any) -> None:
        raise RuntimeError("not compiled with neural network support")

    monkeypatch.setitem(sys.modules, "tinycudann", standin)
    monkeypatch.setattr(standin, "Network", fails)
    with pytest.raises(NerfsceneError, match=r"neural network support.*--backend cpu"):
        make_case().field(tcnn_backend)


# --- in halves ------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", EVERY_GRID)
def test_encode_matches_oracle(tcnn: Any, shape: tuple[int, ...]) -> None:
    case = make_case(1, *shape)
    points = random_points(1000, 2)
    expected = ref.hash_encode(*double(points, case.master), case.grid).numpy()
    # Eight weights and eight sums are rounded, and rows lie in ±1.
    tolerance = 12 * position_error(case) + 10 * HALF
    assert (np.abs(encode(tcnn, case, points) - expected) <= tolerance).all()


@pytest.mark.parametrize("shape", NETWORKS)
def test_evaluate_matches_oracle(tcnn: Any, shape: tuple[int, ...]) -> None:
    check_evaluate(tcnn, shape)


@pytest.mark.parametrize("n", (0, 1, 255, 256, 257))
@pytest.mark.parametrize("color_layers", (0, 2))
def test_any_number_of_samples(tcnn: Any, n: int, color_layers: int) -> None:
    case = make_case(color_layers=color_layers)
    points, directions = random_points(300, 3), random_directions(300, 4)
    some = evaluate(tcnn, case, points[:n], directions[:n])
    every = evaluate(tcnn, case, points, directions)
    for a, b in zip(some, every, strict=True):
        assert_close(a, b[:n], 2 * HALF * max(np.abs(b).max(), 1.0))
    width = case.grid.encoding
    d_encoding, d_weights = np.full((n, width), np.nan, np.float32), np.full_like(case.weights, np.nan)
    d_table = np.ones_like(case.master)
    field = case.field(tcnn)
    field.evaluate_backward(
        points[:n], directions[:n], some[0], some[1].reshape(-1, 3), d_encoding, d_weights
    )
    field.encode_backward(points[:n], np.ones((n, width), np.float32), d_table)
    assert np.isfinite(d_encoding).all() and np.isfinite(d_weights).all()
    assert d_weights.any() == (n > 0) and (d_table != 1).any() == (n > 0)


@pytest.mark.parametrize("shape", NETWORKS)
def test_evaluate_backward_matches_oracle(tcnn: Any, shape: tuple[int, ...]) -> None:
    check_evaluate_backward(tcnn, shape, 129, 0.999)


@pytest.mark.parametrize("shape", EVERY_GRID)
def test_encode_backward_matches_oracle(tcnn: Any, shape: tuple[int, ...]) -> None:
    case = make_case(1, *shape)
    points = random_points(300, 2)
    d_out = np.random.default_rng(3).normal(size=(300, case.grid.encoding)).astype(np.float32)
    got = np.ones_like(case.master)  # the call adds to it
    case.field(tcnn).encode_backward(points, d_out, got)
    table, _ = case.tensors()
    ref.hash_encode(double(points)[0], table, case.grid).backward(double(d_out)[0])
    assert table.grad is not None
    want = table.grad.numpy()
    assert_close(got - 1, want, 20 * HALF * np.abs(want).max())


@pytest.mark.parametrize("kind", ("plain", "against fog", "as in training"))
@pytest.mark.parametrize("name", steps.CASES)
def test_step_gradients_match_oracle(tcnn: Any, name: str, kind: str) -> None:
    check_step_gradients(tcnn, name, kind)


@pytest.mark.parametrize("by", (1.0, 300.0, 3e4))
def test_large_gradients_come_through_halves(tcnn: Any, by: float) -> None:
    case = make_case(4)
    points = random_points(200, 5)
    d_out = np.random.default_rng(6).random((200, case.grid.encoding), np.float32)
    grown, plain = np.zeros_like(case.master), np.zeros_like(case.master)
    case.field(tcnn).encode_backward(points, by * d_out, grown)
    case.field(torch_backend).encode_backward(points, d_out, plain)
    assert_close(grown / by, plain, 20 * HALF * plain.max())


def test_gradients_too_large_for_halves_are_left_out(tcnn: Any) -> None:
    case = make_case(4)
    d_table = np.zeros_like(case.master)
    d_out = np.full((9, case.grid.encoding), 1e30, np.float32)
    case.field(tcnn).encode_backward(random_points(9), d_out, d_table)
    assert not d_table.any()


# --- along rays, in training, from one backend to another -------------------------------------------


def test_tcnn_has_the_names_of_the_torch_backend(tcnn: Any) -> None:
    assert set(tcnn.__all__) == set(torch_backend.__all__)
    assert public(torch_backend.Field) <= public(tcnn.Field)
    assert public(torch_backend.Trainer) <= public(tcnn.Trainer)
    assert tcnn.instruction_set() in tcnn.instruction_sets()
    tcnn.use_instruction_set(tcnn.instruction_set())
    with pytest.raises(ValueError):
        tcnn.use_instruction_set("avx1024")
    assert "tiny-cuda-nn" in backend.describe("tcnn") and not backend.on_gpu(tcnn)


@pytest.mark.parametrize("name", ("bounded", "unbounded, network"))
def test_rays_see_the_same(tcnn: Any, name: str) -> None:
    case = steps.CASES[name]
    rays, behind = random_rays(100, 5), np.random.default_rng(6).random((100, 3), np.float32)
    one = traced(tcnn, case, rays, behind, 1e-4, 3e-3)
    other = traced(torch_backend, case, rays, behind, 1e-4, 3e-3)
    for a, b in zip(one, other, strict=True):
        assert_close_but_for_flips(a, b, 16 * HALF * max(b.max(), 1.0), 0.02)


def test_changed_arrays_are_read_anew(tcnn: Any) -> None:
    case, other = make_case(1), make_case(2)
    points, directions = random_points(50, 1), random_directions(50, 2)
    field = case.field(tcnn)
    case.table[:], case.weights[:] = other.table, other.weights
    got = np.empty(50, np.float32), np.empty((50, 3), np.float32)
    field.evaluate(points, directions, *got)
    for a, b in zip(got, evaluate(tcnn, other, points, directions), strict=True):
        assert np.array_equal(a, b)


@pytest.mark.parametrize("name", ("bounded", pytest.param("unbounded, network", marks=pytest.mark.long)))
def test_training_goes_the_same_way(tcnn: Any, name: str) -> None:
    losses = []
    for module in (tcnn, torch_backend):
        trained = steps.start(module, steps.CASES[name], 7, 3, False)
        o = steps.options(module, steps.SETTINGS["as in training"])
        reports = [trained.trainer.run(o, 10, 1e9) for _ in range(3)]
        losses.append([r["squared_error"] / r["rays"] for r in reports])
        assert trained.trainer.step == 30
        assert np.array_equal(trained.case.table, trained.table.astype(np.float16).view(np.uint16))
    assert losses[0][-1] < 0.95 * losses[0][0]
    assert_close(np.array(losses[0]), losses[1], 0, rtol=0.1)


def small_camera(loaded: Any) -> Camera:
    k = loaded.views[0].intrinsics
    return Camera(scaled(k, 8, 6), loaded.views[0].world_from_cam)


def assert_alike(loaded: Any, names: tuple[str, str]) -> None:
    """Two backends render a scene alike: to a few 8-bit steps everywhere, to less than one on average."""
    a, b = (render(loaded.renderer(name), small_camera(loaded)) for name in names)
    difference = np.abs(a.rgb - b.rgb)
    assert difference.mean() < 3e-3 and np.quantile(difference, 0.999) < 0.03
    assert np.abs(a.accumulation - b.accumulation).mean() < 3e-3
    assert b.rgb.std() > max(0.005, 5 * difference.mean())


def test_tcnn_renders_what_another_backend_trained(tcnn: Any, trained: Path) -> None:
    assert_alike(scene.load(trained), ("tcnn", "cpu"))


def test_another_backend_renders_what_tcnn_trained(
    tcnn: Any, cut_out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_steps(monkeypatch)
    config = TrainConfig(steps=6, backend="tcnn", downscale=4)
    small = FieldConfig(features=4, log2_table=12, finest_resolution=64, occupancy_resolution=32)
    made = api.train(cut_out, tmp_path / "scene", config, small)
    assert made.figures.samples > 0
    assert_alike(scene.load(tmp_path / "scene"), ("cpu", "tcnn"))


# --- where it is not ------------------------------------------------------------------------------


@pytest.fixture
def absent(monkeypatch: pytest.MonkeyPatch) -> None:
    """No tinycudann, whether or not this machine has one."""
    monkeypatch.setitem(sys.modules, "tinycudann", None)


def test_without_tiny_cuda_nn_one_sentence_says_so(
    absent: None, refused: Refused, trained: Path, room: Path, tmp_path: Path
) -> None:
    film = tmp_path / "film.mp4"
    for words in (
        ("train", room, "-o", tmp_path / "out"),
        ("eval", trained),
        ("render", trained, "-o", film),
    ):
        said = refused(*words, "--backend", "tcnn")
        assert "tiny-cuda-nn can't be used" in said and said.count("pip install") == 1
    assert nothing_in(tmp_path / "out") and not film.exists()


def test_doctor_says_whether_it_can_be_used(absent: None, monkeypatch: pytest.MonkeyPatch) -> None:
    d = doctor.examine()
    assert "only --backend tcnn needs it" in doctor.about_tcnn(
        d | {"tinycudann": False, "cuda": {"name": None}}
    )
    assert backend.INSTALL_TCNN in doctor.about_tcnn(d | {"cuda": {"name": "NVIDIA H100"}})
    monkeypatch.setitem(sys.modules, "tinycudann", standin)
    assert "uses it" in doctor.about_tcnn(doctor.examine())


def test_a_tiny_cuda_nn_that_finds_no_gpu_is_reported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "tinycudann.py").write_text('raise EnvironmentError("Unknown compute capability.")\n')
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "tinycudann", raising=False)
    reason = backend.why_no_tcnn()
    assert reason is not None and "(Unknown compute capability): it needs" in reason


def test_tiny_cuda_nn_can_have_the_grids_of_all_settings() -> None:
    """In all grids that settings can ask for, tiny-cuda-nn hashes the same levels as we do."""
    for log2_table in (6, 11, 12, 17, 18, 19, 24):
        for finest in (*range(16, 80), 128, 255, 256, 1000, 4096, 65536):
            grid = grid_layout(3, 2, log2_table, 5, finest)
            for i in range(grid.levels):
                level = tcnn_layout.level_of(grid, i)
                side = level.base_resolution
                assert (level.base_resolution - 1) * level.shrink == pytest.approx(
                    grid.resolution[i], rel=1e-12
                )
                assert (side**3 > 2**level.log2_rows) if grid.hashed[i] else level.dense
