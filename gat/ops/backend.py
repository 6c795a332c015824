"""Which implementation runs: chosen per call, by `use_backend`, or by ``auto``.

A backend asked for by name runs or says why it cannot; only ``auto`` chooses. The implementation
named X is the module `gat.ops.X`, with one function per operator ("additive", "gatv2", "dot").
"""

import functools
import importlib
from collections.abc import Callable
from contextvars import ContextVar
from importlib.util import find_spec
from typing import Any

import torch

from gat.errors import BackendError, InputError
from gat.ops import cpu

__all__ = ["BACKENDS", "implementation", "use_backend"]

BACKENDS = ("auto", "reference", "cpu", "triton")

_chosen: ContextVar[str] = ContextVar("gat_backend", default="auto")


class use_backend:
    """Choose the backend of all operators: ``gat.use_backend("reference")``.

    Called as a function it holds from now on (in this thread or task); as a context manager, until
    the block ends. One of "auto", "reference", "cpu", "triton".
    """

    def __init__(self, name: str) -> None:
        check_name(name)
        self._token = _chosen.set(name)

    def __enter__(self) -> None:
        return None

    def __exit__(self, *exception: object) -> None:
        _chosen.reset(self._token)


def implementation(operator: str, backend: str | None, device: torch.device) -> Callable[..., Any]:
    """The function that computes ``operator`` on ``device``.

    Raises BackendError if a backend asked for by name cannot run it, saying why.
    """
    name = _chosen.get() if backend is None else backend
    check_name(name)
    if name == "auto":
        name = _automatic(device.type)
    elif reason := _why_not(name, operator, device):
        raise BackendError(
            f"backend {name!r} cannot run {operator} attention on {device.type}: {reason}"
        )
    return getattr(importlib.import_module(f"gat.ops.{name}"), operator)


def check_name(name: str) -> None:
    if name not in BACKENDS:
        raise InputError(f"backend is {name!r}; expected one of {', '.join(map(repr, BACKENDS))}")


@functools.cache
def _automatic(device_type: str) -> str:
    # The compiled library computes nothing yet, but a user should learn now that it is missing.
    if device_type == "cpu":
        cpu.notice_if_missing()
    return "reference"


def _why_not(name: str, operator: str, device: torch.device) -> str:
    """Why ``name`` cannot run ``operator`` on ``device``; "" if it can."""
    if name == "reference":
        return ""
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
