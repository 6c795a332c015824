"""The part of the graph that a node's prediction is computed from.

A prediction of L rounds of message passing depends on the edges that enter nodes at most L - 1
steps away, and on the nodes these come from. What is left out cannot change it, so a part computes
the same numbers as the whole; `neighbourhood` checks that it does.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch_geometric.nn import MessagePassing

from gat.errors import InputError
from gat.inspection.faithfulness.inputs import Inputs
from gat.nn.pyg import DropIn

__all__ = ["Neighbourhood", "neighbourhood", "reached", "run_counting"]


@dataclass(frozen=True, eq=False)
class Neighbourhood:
    """The computational subgraph of one node: n nodes, m edges.

    node: its number in the whole graph; centre: in the part. nodes [n], edges [m]: the numbers of
    the part's nodes and edges in the whole graph, ascending. hops: steps that messages are followed
    back. difference: the largest one between the node's outputs on the part and on the whole.
    """

    node: int
    centre: int
    nodes: Tensor
    edges: Tensor
    inputs: Inputs
    hops: int
    difference: float = 0.0


def run_counting(model: nn.Module, inputs: Inputs) -> tuple[Tensor, int]:
    """The model's output [N, C] on the whole graph, and the rounds of messages it took."""
    rounds = 0

    def count(*_: object) -> None:
        nonlocal rounds
        rounds += 1

    layers = [module for module in model.modules() if isinstance(module, MessagePassing)]
    # Ours pass messages once a call, and a hook inside would send them PyG's way.
    handles = [
        layer.register_forward_pre_hook(count)
        if isinstance(layer, DropIn)
        else layer.register_propagate_forward_pre_hook(count)
        for layer in layers
    ]
    try:
        return inputs.run(model), rounds
    finally:
        for handle in handles:
            handle.remove()


def neighbourhood(
    model: nn.Module, inputs: Inputs, whole: Tensor, node: int, hops: int
) -> Neighbourhood:
    """The node's computational subgraph, its output compared with that on the whole graph [N, C].

    Layers that scale by degrees, such as GCNConv, need the edges of one step more. Raises
    InputError if the output is another even so.
    """
    # Other sizes sum in another order; what is left out by mistake moves far more than that.
    allowed = torch.finfo(whole.dtype).eps ** 0.6 * max(1.0, float(whole[node].abs().max()))
    for steps in (hops, hops + 1):
        part = _extract(inputs, node, steps)
        found = part.inputs.run(model)[part.centre]
        difference = float((found - whole[node]).abs().max())
        if difference <= allowed:
            return replace(part, difference=difference)
    raise InputError(
        f"node {node}: the model's output on the node's {hops + 1}-hop neighbourhood differs by "
        f"{difference:.3g} from that on the whole graph; expected the same, as message passing "
        f"gives it. If messages go further than {hops} steps, pass hops=; a model that also uses "
        f"all nodes at once, or numbers of outgoing edges, is not measured"
    )


def reached(inputs: Inputs, start: int, keep: Tensor, hops: int) -> tuple[Tensor, Tensor]:
    """What can send to node ``start`` in ``hops`` steps over the kept edges, of each of B graphs.

    keep: bool [B, E]. Returns the nodes, bool [B, N], and the edges taken, bool [B, E].
    """
    nodes = keep.new_zeros(keep.size(0), inputs.num_nodes)
    nodes[:, start] = True
    taken = torch.zeros_like(keep)
    for _ in range(hops):
        taken = keep & nodes[:, inputs.target]
        graph, edge = taken.nonzero(as_tuple=True)
        nodes[graph, inputs.source[edge]] = True
    return nodes, taken


def _extract(inputs: Inputs, node: int, hops: int) -> Neighbourhood:
    everything = torch.ones(1, inputs.num_edges, dtype=torch.bool, device=inputs.x.device)
    reach, taken = (rows[0] for rows in reached(inputs, node, everything, hops))
    nodes, edges = reach.nonzero().squeeze(1), taken.nonzero().squeeze(1)
    number = reach.cumsum(0) - 1
    part = inputs.part(nodes, edges, number[inputs.edge_index[:, edges]])
    return Neighbourhood(node, int(number[node]), nodes, edges, part, hops)
