"""Things worth saying once: a warning that points at the caller's own line."""

import functools
import sys
import warnings

__all__ = ["warn_once"]

# Frames of these are passed over on the way to the line that the reader wrote.
PASSED_OVER = ("gat.", "torch.", "torch_geometric.", "functools")


@functools.cache
def warn_once(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn with this sentence the first time it is said in the process."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(PASSED_OVER):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)
