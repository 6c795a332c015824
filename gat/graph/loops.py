"""Edge features of the self-loops that `Graph.with_self_loops` added, filled as PyG fills them."""

import torch
from torch import Tensor
from torch_geometric.utils import scatter

from gat.errors import InputError
from gat.graph.structure import Graph

__all__ = ["FILL_NAMES", "loop_features"]

FILL_NAMES = ("mean", "add", "sum", "min", "max", "mul")


def loop_features(
    graph: Graph,
    edge_attr: Tensor,
    fill_value: float | Tensor | str = "mean",
    *,
    by: str = "target",
) -> Tensor:
    """Edge features in listed order [E, ...], from the caller's [num_caller_edges, ...].

    Loops get ``fill_value``: a number, a tensor of one edge's features, or a reduction over the
    features of the node's other edges ('mean', 'add', 'min', 'max', 'mul'): those that enter it,
    or, with ``by="source"``, those that leave it. A node without other edges gets 0 (1 for 'mul').
    The caller's own loops lose their features, as in PyG.
    """
    if edge_attr.size(0) != graph.num_caller_edges:
        raise InputError(
            f"edge_attr has {edge_attr.size(0)} rows; expected one per edge, "
            f"{graph.num_caller_edges}"
        )
    if graph.num_loops == 0:
        return edge_attr
    assert graph.origin is not None
    num_kept = graph.num_edges - graph.num_loops
    # Narrowed: of a slice torch.export would not know the length.
    kept = edge_attr.index_select(0, graph.origin.narrow(0, 0, num_kept))
    shape = (graph.num_loops, *kept.shape[1:])
    if isinstance(fill_value, Tensor):
        loops = fill_value.to(kept.device, kept.dtype).expand(shape)
    elif isinstance(fill_value, int | float):
        loops = kept.new_full(shape, fill_value)
    elif fill_value in FILL_NAMES:
        end = graph.edge_index[1 if by == "target" else 0].narrow(0, 0, num_kept)
        size = graph.num_dst if by == "target" else graph.num_src
        loops = scatter(kept, end, 0, size, fill_value)[: graph.num_loops]
    else:
        raise InputError(
            f"fill_value is {fill_value!r}; expected a number, a tensor or one of "
            f"{', '.join(map(repr, FILL_NAMES))}"
        )
    return torch.cat([kept, loops])
