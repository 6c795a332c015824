"""What every room's tests share: raw data sets where they are at hand, one thread, fixed seeds."""

import os
import random
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.device import DEVICE


def pytest_configure(config: pytest.Config) -> None:
    # Without a GPU, its kernels are tested in Triton's interpreter, on the CPU.
    if not torch.cuda.is_available():
        os.environ.setdefault("TRITON_INTERPRET", "1")
    # More than one for `make sanitize`, which looks for what threads do to each other.
    torch.set_num_threads(int(os.environ.get("GAT_TEST_THREADS", "1")))
    # A shell starts what it runs in the background deaf to Ctrl-C, and runs honour that; the tests
    # that press it are to say the same wherever they run.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _same_seeds() -> None:
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(autouse=True, scope="session")
def _on_the_device() -> Iterator[None]:
    """What names no device is made on the one that is tested."""
    if DEVICE.type == "cpu":
        yield
        return
    with torch.device(DEVICE):
        yield


@pytest.fixture(autouse=True)
def _nothing_compiled_before() -> None:
    """A function has so many compiled variants and no more, whichever tests ran before."""
    if "torch._dynamo" in sys.modules:
        torch._dynamo.reset()


@pytest.fixture(scope="session")
def gat_data() -> Path:
    """The folder with the raw data sets, as NAME/raw/FILE."""
    folder = os.environ.get("GAT_DATA")
    if not folder:
        pytest.skip("GAT_DATA is unset; it names the folder with the raw data sets")
    assert Path(folder).is_dir(), f"GAT_DATA names {folder}, which is no folder"
    return Path(folder)
