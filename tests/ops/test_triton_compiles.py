"""Every Triton kernel compiles for GPUs that are not here, in every dtype, and fits in registers.

It is compiled as calls would have it compiled (`compiling.py`).
"""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="triton is not installed"
)

KERNELS = {
    "attend", "describe", "merge", "pull_by_source", "pull_by_target", "pull_softmax", "pull_terms",
    "pull_weights", "sum_numbers", "sum_parts", "sum_rows", "write_scores", "write_weights",
}  # fmt: skip

# Bytes a thread may put aside for want of registers: what does not fit is slow.
SPILLED_MOST = 64


@pytest.mark.parametrize(
    ("capability", "dtype"),
    [(80, "float32"), (90, "float32"), (90, "bfloat16"), (90, "float16"), (90, "float64")],
)
def test_every_kernel_compiles_and_fits_in_registers(capability, dtype, tmp_path):
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    environment["TRITON_CACHE_DIR"] = str(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "tests.ops.compiling", str(capability), dtype],
        cwd=Path(__file__).parents[2],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert {one["kernel"] for one in found} == KERNELS
    spilled = [one for one in found if one["stack"] > SPILLED_MOST]
    assert not spilled
