"""Things worth saying once: a warning that points at the caller's own line."""

import functools
import sys
import warnings

import torch

__all__ = ["warn_once"]

# Frames of these are passed over on the way to the line that the reader wrote.
PASSED_OVER = ("gat.", "torch.", "torch_geometric.", "functools")


# torch.compile runs it as it traces, for it cannot trace it.
@torch.compiler.assume_constant_result
def warn_once(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn with this sentence the first time it is said in the process."""
    _warn(message, category)  # type: ignore[arg-type]


@functools.cache
def _warn(message: str, category: type[Warning]) -> None:
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(PASSED_OVER):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


# Tests say it anew.
warn_once.cache_clear = _warn.cache_clear
