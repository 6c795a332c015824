"""Node features as they come: dense [N, F], or torch sparse CSR [N, F] where most are zero.

A sparse matrix is a bipartite graph from its columns to its rows, and its product with a weight a
weighted sum over that graph's edges. So where compiled kernels serve, they multiply it, by a graph
that is remembered for as long as the matrix lives (`gat.graph.graph_of`).
"""

from typing import Any

import torch
import torch.nn.functional as F
import torch_geometric.nn as pyg
from torch import Tensor, nn
from torch.nn.modules import module as torch_module

from gat.errors import ArgumentTypeError, InputError
from gat.graph import Graph, graph_of, remember
from gat.nn.dropout import dropout
from gat.ops import aggregate
from gat.ops.backend import is_compiled

__all__ = ["Linear", "drop_features", "is_plain_linear", "linear", "project", "target_rows"]

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``F.linear`` for dense and sparse CSR features: x [N, F], weight [K, F], bias [K]: [N, K].

    Our product of a sparse x takes any mixture of floating dtypes, obeys autocast and accepts
    unsorted columns and entries stored twice, which add up. Where no compiled kernels serve x's
    device, torch multiplies: in float32 and wider only.

    Raises InputError and IndexRangeError for a matrix that is none (see `gat.graph.read_edges`).
    """
    return _multiply(x, weight, bias) if _is_ours(x) else F.linear(x, weight, bias)


def drop_features(x: Tensor, p: float, training: bool) -> Tensor:
    """Dropout (`gat.nn.dropout`) for dense and sparse CSR features.

    Of a sparse matrix only the stored values are drawn for: the rest is zero either way.
    """
    if x.layout is torch.strided:
        return dropout(x, p, training)
    if x.layout is not torch.sparse_csr:
        raise InputError(
            f"x has layout {x.layout}; expected dense or sparse CSR features (convert with "
            f"x.to_sparse_csr())"
        )
    if not training or p == 0:
        return x
    return _drop_stored(x, p)


def project(module: nn.Module, x: Tensor) -> Tensor:
    """``module(x)``; where that is no more than a linear layer's product, by `linear`.

    A layer with hooks, parametrised or replaced does what its own code says.
    """
    if x.layout is not torch.strided and is_plain_linear(module):
        return linear(x, module.weight, module.bias)  # type: ignore[arg-type]
    return module(x)


def target_rows(x: Tensor, edges: Any) -> Tensor:
    """The rows of the targets: x itself, or the first num_dst rows of x where ``edges`` is a Graph
    from as many sources as x has rows to fewer targets, as samplers of neighbours number them.

    x [N, F] dense or sparse CSR, [N] or [B, N, F]; dense rows are a view.
    """
    dim = -1 if x.dim() == 1 else -2
    if not isinstance(edges, Graph) or edges.num_dst >= edges.num_src:
        return x
    if x.size(dim) != edges.num_src:
        return x
    if x.layout is torch.strided:
        return x.narrow(dim, 0, edges.num_dst)
    return _first_stored_rows(x, edges.num_dst)


class Linear(nn.Linear):
    """`torch.nn.Linear` that takes sparse CSR features too."""

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias)


# torch.compile cannot trace what is sparse: the rest of a model is compiled around these two.
@torch.compiler.disable
def _multiply(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    _check(x, weight)
    values, weight = _autocast(x.values()), _autocast(weight)
    rows = weight.t().contiguous().unsqueeze(1)
    out = aggregate(graph_of(x), values.unsqueeze(1), rows).squeeze(1)
    return out if bias is None else out + _autocast(bias)


@torch.compiler.disable
def _drop_stored(x: Tensor, p: float) -> Tensor:
    values = dropout(x.values(), p)
    dropped = torch.sparse_csr_tensor(
        x.crow_indices(), x.col_indices(), values, x.shape, check_invariants=False
    )
    if _is_ours(x):
        remember(dropped, graph_of(x))
    return dropped


@torch.compiler.disable
def _first_stored_rows(x: Tensor, count: int) -> Tensor:
    if x.layout is not torch.sparse_csr:
        raise InputError(f"x has layout {x.layout}; expected dense or sparse CSR features")
    pointer = x.crow_indices()[: count + 1]
    stored = int(pointer[-1])
    return torch.sparse_csr_tensor(
        pointer, x.col_indices()[:stored], x.values()[:stored], (count, x.size(1)),
        check_invariants=False,
    )  # fmt: skip


def _is_ours(x: Tensor) -> bool:
    """Whether compiled kernels multiply x."""
    return x.layout is torch.sparse_csr and is_compiled("aggregate", x.device)


def is_plain_linear(module: nn.Module) -> bool:
    """Whether a layer does no more than a linear layer's product: no hooks, nothing replaced."""
    if type(module) not in (nn.Linear, pyg.Linear) or "forward" in module.__dict__:
        return False
    own = any(getattr(module, name) for name in HOOKS)
    everyones = any(getattr(torch_module, f"_global{name}") for name in HOOKS)
    return not own and not everyones and module._compiled_call_impl is None


def _check(x: Tensor, weight: Tensor) -> None:
    if x.dim() != 2 or not x.is_floating_point():
        error = InputError if x.dim() != 2 else ArgumentTypeError
        raise error(
            f"x is a CSR matrix of {x.dtype} and shape {list(x.shape)}; expected floating numbers "
            f"[nodes, features]"
        )
    if weight.dim() != 2 or weight.size(1) != x.size(1):
        raise InputError(
            f"x has {x.size(1)} features, but the weight has shape {list(weight.shape)}; expected "
            f"[outputs, {x.size(1)}]"
        )


def _autocast(tensor: Tensor) -> Tensor:
    """The tensor as torch's autocast hands it to a linear layer."""
    device = tensor.device.type
    if tensor.dtype is torch.float64 or not torch.is_autocast_enabled(device):
        return tensor
    return tensor.to(torch.get_autocast_dtype(device))
