"""Graph attention: PyTorch Geometric's layers on kernels of our own, and training on real graphs.

Everything here is imported when it is first used, so ``import gat`` itself costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from gat._version import __version__

if TYPE_CHECKING:
    from gat import data, errors, graph, inspection, models, nn, ops, sampling, topology, train
    from gat.errors import GatError
    from gat.graph import Graph
    from gat.inspection import record_attention
    from gat.nn.accelerate import accelerate, restore
    from gat.nn.weights import load_dgl_state_dict, load_pyg_state_dict
    from gat.ops import use_backend

__all__ = [
    "GatError",
    "Graph",
    "__version__",
    "accelerate",
    "data",
    "errors",
    "graph",
    "inspection",
    "load_dgl_state_dict",
    "load_pyg_state_dict",
    "models",
    "nn",
    "ops",
    "record_attention",
    "restore",
    "sampling",
    "topology",
    "train",
    "use_backend",
]

_HOME = {
    "GatError": "gat.errors",
    "Graph": "gat.graph",
    "accelerate": "gat.nn.accelerate",
    "load_dgl_state_dict": "gat.nn.weights",
    "load_pyg_state_dict": "gat.nn.weights",
    "record_attention": "gat.inspection",
    "restore": "gat.nn.accelerate",
    "use_backend": "gat.ops",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    if name in __all__:
        return import_module(f"gat.{name}")
    raise AttributeError(f"module 'gat' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
