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


STATUS = """
import torch
from gat.graph import Graph
from gat.ops import additive_attention, cpu
print(cpu.status().available, cpu.status())
on, ones = Graph.from_edge_index(torch.tensor([[0], [1]]), 2), torch.ones(2, 1)
additive_attention(on, ones[..., None], ones, backend="cpu")
"""


@pytest.mark.parametrize("asked", ["nonsense", "x86-64-v9", "X86-64"])
def test_unknown_instruction_set_is_refused_in_words(asked):
    done = subprocess.run(
        [sys.executable, "-c", STATUS],
        env=os.environ | {"GAT_CPU_INSTRUCTIONS": asked},
        capture_output=True,
        text=True,
        check=False,
    )
    possible = ", ".join(reversed(LEVELS[: LEVELS.index(cpu.status().instructions) + 1]))
    assert done.stdout.startswith("False")
    assert f"GAT_CPU_INSTRUCTIONS is '{asked}'; possible here: " in done.stdout
    assert possible in done.stdout
    assert "unset GAT_CPU_INSTRUCTIONS" in done.stdout
    assert done.returncode == 1
    assert "BackendError" in done.stderr
