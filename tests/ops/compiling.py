"""Compile every kernel that a call would launch, for a GPU that need not be there.

    python -m tests.ops.compiling 90 float32

Triton's compiler and NVIDIA's assembler are in Triton's wheel; only launching needs a GPU. Prints a
line of JSON for each kernel: its name, registers, bytes of stack and of shared memory.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
import triton.backends.nvidia
from triton.backends.compiler import GPUTarget
from triton.runtime.driver import driver

from gat.graph import schedule
from gat.ops import library
from gat.ops.triton.call import Call
from tests.ops.inputs import OPERATORS, STEPS, graph, inputs

TOOL = Path(triton.backends.nvidia.__file__).parent / "bin" / "cuobjdump"


class NoDriver:
    """Says which GPU to compile for."""

    def __init__(self, capability: int) -> None:
        self.target = GPUTarget("cuda", capability, 32)

    def get_current_target(self) -> GPUTarget:
        return self.target

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0


def compile_instead(self: Call, kernel: Any, grid: Any, warps: int, **arguments: Any) -> None:
    compiled = kernel.warmup(**arguments, num_warps=warps, grid=grid)
    if compiled.hash not in SEEN:
        SEEN.add(compiled.hash)
        print(json.dumps({"kernel": kernel.fn.__name__, **resources(compiled)}), flush=True)


def resources(compiled: Any) -> dict[str, int]:
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(compiled.asm["cubin"])
        file.flush()
        told = [TOOL, "-res-usage", file.name]
        found = subprocess.run(told, capture_output=True, check=True)
    used = re.search(rb"REG:(\d+) STACK:(\d+)", found.stdout)
    assert used is not None, found
    registers, stack = map(int, used.groups())
    return {"registers": registers, "stack": stack, "shared": compiled.metadata.shared}


def compile_all(dtype: torch.dtype, slope: float, scale: float, dropout: float) -> None:
    """Every operator and step, forward and backward, on a graph with rows of every class."""
    calls = sorted(OPERATORS.keys() | STEPS.keys() - {"segment_entmax"})
    sizes = [(call, 8, 32, "leaky_relu") for call in calls] + [("gatv2", 3, 5, "tanh")]
    on = graph("hub")
    for call, heads, channels, activation in sizes:
        t = {k: x.requires_grad_() for k, x in inputs(call, on, heads, channels, dtype).items()}
        backend: Any = library.triton
        options: dict[str, Any] = {}
        if "gatv2" in call:
            options |= {"activation": activation}
        if "gatv2" in call or "additive" in call:
            options |= {"negative_slope": slope}
        if "dot" in call:
            options |= {"scale": scale}
        if call in OPERATORS:
            options |= {"dropout": dropout, "seed": torch.tensor(1), "return_weights": True}
            if call == "gatv2":
                t["value"] = t["key"]
            out, _ = getattr(backend, call)(on, *t.values(), **options)
        else:
            out = getattr(backend, call)(on, *t.values(), **options)
        out.sum().backward()


if __name__ == "__main__":
    assert os.environ.get("TRITON_INTERPRET") != "1", "the interpreter compiles nothing"
    SEEN: set[str] = set()
    schedule.LIGHT, schedule.CHUNK = 4, 12
    driver.set_active(NoDriver(int(sys.argv[1])))
    Call._run = compile_instead
    compile_all(getattr(torch, sys.argv[2]), slope=0.2, scale=0.1, dropout=0.6)
    compiled = len(SEEN)
    # Numbers that Triton would by itself compile anew for: 0, 1, and multiples of 16 as integers.
    compile_all(getattr(torch, sys.argv[2]), slope=0.0, scale=1.0, dropout=0.5)
    assert len(SEEN) == compiled, "a kernel was compiled anew for other numbers"
