"""Every instruction set that this machine runs, each in a process of its own: it is as right."""

import os
import platform
import subprocess
import sys

import pytest

from gat.ops import cpu

pytestmark = [
    pytest.mark.skipif(not cpu.status().available, reason=str(cpu.status())),
    pytest.mark.skipif(
        platform.machine().lower() not in ("x86_64", "amd64"), reason="one set is compiled here"
    ),
]

LEVELS = ["x86-64", "x86-64-v3", "x86-64-v4"]

CHECK = """
import torch
from gat.ops import cpu
from tests.ops.accuracy import assert_as_accurate_as_the_reference
from tests.ops.inputs import CALLS, OPERATORS, graph, inputs

torch.set_num_threads(1)
# The widths compiled for float32, and another; each dtype once.
WIDTHS = ((2, 32), (8, 8), (1, 64), (1, 250))
cases = [((heads, channels), torch.float32) for heads, channels in WIDTHS]
cases += [((3, 23), dtype) for dtype in (torch.float64, torch.bfloat16, torch.float16)]
for call, run in CALLS.items():
    options = {"dropout": 0.4, "seed": 5, "return_weights": True} if call in OPERATORS else {}
    for size, dtype in cases:
        on = graph("random")
        t = inputs(call, on, *size, dtype)
        assert_as_accurate_as_the_reference(run, on, t, "cpu", **options)
print(cpu.status().instructions)
"""


@pytest.mark.parametrize("level", LEVELS)
def test_each_instruction_set_is_as_accurate_as_the_reference(level):
    if LEVELS.index(level) > LEVELS.index(cpu.status().instructions):
        pytest.skip(f"this machine, or the environment, stops at {cpu.status().instructions}")
    done = subprocess.run(
        [sys.executable, "-c", CHECK],
        env=os.environ | {"GAT_CPU_INSTRUCTIONS": level},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == level
