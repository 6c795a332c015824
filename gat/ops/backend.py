"""Which implementation runs: chosen per call, by `use_backend`, or by ``auto``.

A backend asked for by name runs or says why it cannot; only ``auto`` chooses: on the CPU the
compiled library, on a GPU Triton's kernels, if they serve, else blocks of edges in torch; and
torch's dense kernel for calls of which it is the faster road (`gat.ops.attention` asks
`gat.ops.dense`). An implementation is a module or object with a function per operator and step.
"""

import importlib
import os
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import torch

from gat.checks import one_of
from gat.errors import BackendError
from gat.notices import warn_once
from gat.ops import cpu

__all__ = ["BACKENDS", "implementation", "is_automatic", "is_compiled", "use_backend"]

BACKENDS = ("auto", "reference", "blockwise", "cpu", "triton", "dense")

# Compiled kernels are reached through their torch.library operators: objects of one module.
MODULES = {
    "reference": "gat.ops.reference",
    "blockwise": "gat.ops.blockwise",
    "cpu": "gat.ops.library:cpu",
    "triton": "gat.ops.library:triton",
    "dense": "gat.ops.dense",
}
FUSED = ("additive", "gatv2", "dot")

_TRITON_MISSING = "triton is not installed (pip install 'graph-attention[gpu]')"

# A plain global, for the whole process: torch.compile guards on it and compiles anew on a change.
_chosen = "auto"

# What was settled, so that a call costs two lookups: (operator, name, device type) to module name.
_settled: dict[tuple[str, str, str], str] = {}
_modules: dict[str, Any] = {}


class use_backend:
    """Choose the backend of all operators: ``gat.use_backend("reference")``.

    Called as a function it holds from now on, in the whole process; as a context manager, until
    the block ends. One of "auto", "reference", "blockwise", "cpu", "triton", "dense"; the last is
    torch's own kernel, for dot attention on `gat.topology`'s graphs but the grid.
    """

    def __init__(self, name: str) -> None:
        global _chosen
        check_name(name)
        self._before, _chosen = _chosen, name

    def __enter__(self) -> None:
        return None

    def __exit__(self, *exception: object) -> None:
        global _chosen
        _chosen = self._before


def implementation(operator: str, backend: str | None, device: torch.device) -> Callable[..., Any]:
    """The function that computes ``operator`` (a fused one or a step) on ``device``.

    Raises BackendError if a backend asked for by name cannot run it, saying why.
    """
    name = _chosen if backend is None else backend
    check_name(name)
    return getattr(_modules[_settle(operator, name, device.type)], operator)


def is_automatic(backend: str | None) -> bool:
    """Whether ``auto`` chooses for a call that asks for ``backend``."""
    return (_chosen if backend is None else backend) == "auto"


def is_compiled(operator: str, device: torch.device) -> bool:
    """Whether compiled kernels run ``operator`` on ``device``, as backends are chosen now."""
    if device.type not in ("cpu", "cuda"):
        return False
    return _settle(operator, _chosen, device.type) in (MODULES["cpu"], MODULES["triton"])


def check_name(name: str) -> None:
    one_of("backend", name, BACKENDS)


# torch.compile runs this as it traces and keeps the answer: it cannot trace the loading of modules
# and libraries that the first call may need.
@torch.compiler.assume_constant_result
def _settle(operator: str, name: str, device: str) -> str:
    """The name of the module that runs ``operator``, imported into ``_modules``."""
    key = (operator, name, device)
    if key not in _settled:
        if name == "auto":
            name = _automatic(operator, device)
        elif reason := why_not(name, operator, device):
            what = f"{operator} attention" if operator in FUSED else operator
            raise BackendError(f"backend {name!r} cannot run {what} on {device}: {reason}")
        module = MODULES[name]
        _modules[module] = _load(module)
        _settled[key] = module
    return _settled[key]


def _automatic(operator: str, device: str) -> str:
    if device == "cpu":
        cpu.notice_if_missing()
    compiled = "triton" if device == "cuda" else "cpu"
    if device == "cuda" and find_spec("triton") is None:
        warn_once(f"{_TRITON_MISSING}; attention on the GPU runs in torch until then, more slowly")
    return "blockwise" if why_not(compiled, operator, device) else compiled


def why_not(name: str, operator: str, device: str) -> str:
    """Why ``name`` cannot run ``operator`` on ``device``; "" if it can."""
    if name == "cpu" and device != "cpu":
        return "it computes on the CPU only; move the tensors or use backend='auto'"
    if name == "cpu" and not cpu.status().available:
        return str(cpu.status())
    if name == "triton" and find_spec("triton") is None:
        return _TRITON_MISSING
    if name == "triton" and device != "cuda" and not _is_interpreted(device):
        return (
            "it computes on a GPU; move the tensors, use backend='auto', or set TRITON_INTERPRET=1 "
            "before Python starts, to try its kernels on the CPU, slowly"
        )
    if name == "dense" and operator != "dot":
        return "torch's kernel is for dot attention alone; use backend='auto'"
    if not _has(name, operator):
        return "this version of gat has no such kernel; use backend='auto' or 'reference'"
    return ""


def _has(name: str, operator: str) -> bool:
    return hasattr(_load(MODULES[name]), operator)


def _load(path: str) -> Any:
    """A module, or "module:name" in it."""
    module, _, name = path.partition(":")
    found = importlib.import_module(module)
    return getattr(found, name) if name else found


def _is_interpreted(device: str) -> bool:
    """Whether Triton's kernels run in its interpreter: decided when they are defined."""
    return device == "cpu" and os.environ.get("TRITON_INTERPRET") == "1"
