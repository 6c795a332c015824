"""Which implementation runs: chosen per call, by `use_backend`, or by ``auto``.

A backend asked for by name runs or says why it cannot; only ``auto`` chooses. The implementation
named X is the module `gat.ops.X`, with one function per operator ("additive", "gatv2", "dot").
"""

import importlib
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import torch

from gat.errors import BackendError, InputError
from gat.ops import cpu, reference

__all__ = ["BACKENDS", "implementation", "use_backend"]

BACKENDS = ("auto", "reference", "cpu", "triton")

# A plain global, for the whole process: torch.compile guards on it and compiles anew on a change.
_chosen = "auto"


class use_backend:
    """Choose the backend of all operators: ``gat.use_backend("reference")``.

    Called as a function it holds from now on, in the whole process; as a context manager, until
    the block ends. One of "auto", "reference", "cpu", "triton".
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
    """The function that computes ``operator`` on ``device``.

    Raises BackendError if a backend asked for by name cannot run it, saying why.
    """
    name = _chosen if backend is None else backend
    check_name(name)
    if name == "auto":
        # The library computes nothing yet, but a user should learn now that it is missing.
        if device.type == "cpu" and not torch.compiler.is_compiling():
            cpu.notice_if_missing()
        name = "reference"
    if name == "reference":
        return getattr(reference, operator)
    if reason := _why_not(name, operator, device):
        raise BackendError(
            f"backend {name!r} cannot run {operator} attention on {device.type}: {reason}"
        )
    return getattr(importlib.import_module(f"gat.ops.{name}"), operator)


def check_name(name: str) -> None:
    if name not in BACKENDS:
        raise InputError(f"backend is {name!r}; expected one of {', '.join(map(repr, BACKENDS))}")


def _why_not(name: str, operator: str, device: torch.device) -> str:
    """Why ``name`` cannot run ``operator`` on ``device``; "" if it can."""
    if name == "cpu" and device.type != "cpu":
        return "it computes on the CPU only; move the tensors or use backend='auto'"
    if name == "cpu" and not cpu.status().available:
        return str(cpu.status())
    if name == "triton" and find_spec("triton") is None:
        return "triton is not installed (pip install 'graph-attention[gpu]')"
    module = f"gat.ops.{name}"
    if find_spec(module) is None or not hasattr(importlib.import_module(module), operator):
        return "this version of gat has no such kernel; use backend='auto' or 'reference'"
    return ""
