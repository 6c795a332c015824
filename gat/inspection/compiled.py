"""Models that torch.compile compiled: how they run while they are looked into, and their names."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

__all__ = ["COMPILED", "plain_name", "uncompiled"]

# Where torch.compile keeps the module it wraps.
COMPILED = "_orig_mod"


class _Eager:
    """How many blocks are open, and what keeps compiled code from running meanwhile."""

    count = 0
    stance: Any = None


@contextmanager
def uncompiled() -> Iterator[None]:
    """Inside the block what torch.compile made runs as it was written: compiled code was traced
    without hooks and interventions, and would not notice them. Blocks need not end in order."""
    # Where torch's compiler was never imported nothing is compiled; importing it takes seconds.
    if _Eager.count == 0 and "torch._dynamo" in sys.modules:
        _Eager.stance = torch.compiler.set_stance("force_eager")
    _Eager.count += 1
    try:
        yield
    finally:
        _Eager.count -= 1
        if _Eager.count == 0 and _Eager.stance is not None:
            _Eager.stance.__exit__(None, None, None)
            _Eager.stance = None


def plain_name(path: str) -> str:
    """A module's name without what torch.compile puts into it."""
    return ".".join(part for part in path.split(".") if part != COMPILED)
