"""The device that the tests of operators and layers run on: GAT_TEST_DEVICE, by default the CPU.

`make test-gpu` sets it to cuda; tensors that name no device are then made there.
"""

import os

import torch

DEVICE = torch.device(os.environ.get("GAT_TEST_DEVICE", "cpu"))


def generator(seed: int) -> torch.Generator:
    """Of numbers for tensors on the device."""
    return torch.Generator(DEVICE).manual_seed(seed)
