"""Which edges a node's result can depend on: those among the nodes whose messages reach it."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch_geometric.explain.algorithm import ExplainerAlgorithm
from torch_geometric.nn import MessagePassing

from gat.errors import IndexRangeError, InputError

__all__ = ["names_kind", "node_counts", "start_nodes", "visited_edges"]

# (source type, relation, target type)
Kind = tuple[str, str, str]


def start_nodes(
    x: Mapping[str, Tensor], edges: Mapping[Kind, Tensor], index: int | Tensor, target: Tensor
) -> dict[str, Tensor]:
    """The nodes to explain among those of each type, bool [N].

    They are of the types with as many nodes as ``target``, the prediction, has rows; where none
    has, of any.
    """
    sizes = node_counts(x, edges)
    predicted = [name for name, size in sizes.items() if size == target.size(0)] or list(sizes)
    chosen = torch.as_tensor(index, device=target.device).reshape(-1)
    if chosen.dtype == torch.bool:
        if chosen.numel() != target.size(0):
            raise InputError(
                f"index is a mask of {chosen.numel()} nodes; expected {target.size(0)}, one for "
                f"each row of the prediction"
            )
        chosen = chosen.nonzero().squeeze(1)
    limit = max(sizes[name] for name in predicted)
    wrong = chosen[(chosen < 0) | (chosen >= limit)]
    if wrong.numel():
        raise IndexRangeError(f"index names node {int(wrong[0])}, outside [0, {limit})")
    nodes = {name: chosen.new_zeros(size, dtype=torch.bool) for name, size in sizes.items()}
    for name in predicted:
        nodes[name][chosen[chosen < sizes[name]]] = True
    return nodes


def node_counts(x: Mapping[str, Tensor], edges: Mapping[Kind, Tensor]) -> dict[str, int]:
    """Nodes of each type, by features or, of a type without, by edges."""
    sizes = {name: features.size(0) for name, features in x.items()}
    for (source, _, dest), pair in edges.items():
        for name, row in ((source, pair[0]), (dest, pair[1])):
            needed = int(row.max()) + 1 if row.numel() else 0
            sizes[name] = max(sizes.get(name, 0), needed)
    return sizes


def visited_edges(
    edges: Mapping[Kind, Tensor],
    nodes: Mapping[str, Tensor],
    model: nn.Module,
    calls: Mapping[str, int],
) -> dict[Kind, Tensor]:
    """The edges of each type among the nodes whose messages reach ``nodes``: bool [E] each.

    As PyG's explainers have it: an edge between two of the farthest nodes counts, although no
    message passes it. nodes: bool [N] of each type; calls: how often each layer named there was
    called.
    """
    flow = ExplainerAlgorithm._flow(model)
    send, receive = (0, 1) if flow == "source_to_target" else (1, 0)
    for _ in range(_num_hops(model, calls, list(edges))):
        reached = {name: mask.clone() for name, mask in nodes.items()}
        for kind, pair in edges.items():
            entering = nodes[kind[2 * receive]][pair[receive]]
            reached[kind[2 * send]][pair[send, entering]] = True
        nodes = reached
    return {kind: nodes[kind[0]][pair[0]] & nodes[kind[2]][pair[1]] for kind, pair in edges.items()}


def _num_hops(model: nn.Module, calls: Mapping[str, int], kinds: list[Kind]) -> int:
    """Messages in a row: one for each message passing layer, or for its layers of all edge types
    together, and more for a layer that is called more than once."""
    hops: dict[str, int] = {}
    for path, module in model.named_modules():
        if isinstance(module, MessagePassing) or path in calls:
            beside = any(names_kind(path, kind) for kind in kinds)
            place = path.rpartition(".")[0] if beside else path
            hops[place] = max(hops.get(place, 1), calls.get(path, 1))
    return sum(hops.values())


def names_kind(path: str, kind: Kind) -> bool:
    """Whether a module's name ends in an edge type, as HeteroConv and to_hetero write it."""
    last = path.rpartition(".")[2]
    in_hetero_conv = "<{}>".format("___".join(kind)).replace(".", "#")
    by_to_hetero = "__".join(kind)
    written = by_to_hetero.translate(str.maketrans(" -:", "___"))
    return last in (in_hetero_conv, by_to_hetero, written)
