"""The tcnn backend keeps devices apart when tiny-cuda-nn's parameters live on another one.

No GPU is needed: torch pretends a device whose tensors have shapes and no numbers, and refuses what joins
tensors of two devices. In a process of its own, for a device is given its name but once.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOT_HERE = "this torch has no such device"
CODE = f"""
import sys
import numpy
import torch
try:
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.utils.backend_registration import _setup_privateuseone_for_python_backend as pretend
except ImportError:
    sys.exit({NOT_HERE!r})
pretend("elsewhere")

import tinycudann_standin as standin
from kernel_cases import make_case
from nerfscene.ops import tcnn_backend

sys.modules["tinycudann"] = standin
standin.device = torch.device("elsewhere:0")
torch.autograd.set_multithreading_enabled(False)  # the pretended device exists in one thread only
torch.isfinite = lambda x: numpy.ones(1)  # fake tensors have no values to check


def lives(device, *tensors):
    assert {{t.device.type for t in tensors}} == {{device}}, tensors


for color_layers in (0, 2):
    arguments = make_case(color_layers=color_layers).arguments()
    with FakeTensorMode(allow_non_fake_inputs=True):
        field = tcnn_backend.Field(**arguments)
        lives("elsewhere", *field.parameters())
        lives("cpu", field.table, field.weights)
        for n in (300, 0):
            unit, directions, p = torch.rand(n, 3), torch.rand(n, 3), field.leaves()
            with field.held(), torch.no_grad():
                lives("cpu", field.densities(unit), *field.at(unit, directions, field.parameters()))
            density, rgb = field.at(unit, directions, p)
            lives("cpu", density, rgb)
            everywhere = torch.zeros(500).index_put((torch.arange(n),), density)
            gradients = field.gradients(everywhere.sum() + rgb.sum(), 7, p)
            lives("elsewhere", *gradients, *field.arranged(gradients))
            encoding = field.encodings(unit, p).detach().requires_grad_()
            outputs = field.outputs(encoding, p)
            loss = outputs.sum() + field.colors(outputs, directions, p).sum()
            lives("elsewhere", *field.gradients(loss, 1, [encoding, *p]))
print("nothing is mixed up")
"""


def test_devices_are_not_mixed_up() -> None:
    paths = os.pathsep.join([str(p) for p in (ROOT, ROOT / "tests", ROOT / "tests/support")])
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, "PYTHONPATH": paths},
        check=False,
    )
    if NOT_HERE in done.stderr:
        pytest.skip(NOT_HERE)
    assert done.returncode == 0 and "nothing is mixed up" in done.stdout, done.stderr
