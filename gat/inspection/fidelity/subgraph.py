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
from gat.inspection.fidelity.inputs import Inputs
from gat.inspection.fidelity.probe import differ
from gat.nn.pyg import DropIn

__all__ = ["Neighbourhood", "distances", "neighbourhood", "reached", "run_counting"]


@dataclass(frozen=True, eq=False)
class Neighbourhood:
    """The computational subgraph of one node: n nodes, m edges.

    node: its number in the whole graph; centre: in the part. nodes [n], edges [m]: the numbers of
    the part's nodes and edges in the whole graph, ascending, self-loops after the other edges.
    steps: how far messages are followed back. difference: the largest one between the node's
    outputs on the part and on the whole.
    """

    node: int
    centre: int
    nodes: Tensor
    edges: Tensor
    inputs: Inputs
    steps: int
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
    model: nn.Module, inputs: Inputs, whole: Tensor, node: int, steps: int
) -> Neighbourhood:
    """The node's computational subgraph, its output compared with that on the whole graph [N, C].

    steps: see `steps_back`. Raises InputError if the output is another.
    """
    part = _extract(inputs, node, steps)
    found = part.inputs.run(model)[part.centre]
    difference = float((found - whole[node]).abs().max())
    if differ(whole[node], found):
        raise InputError(
            f"node {node}: the model's output on the node's {steps}-hop neighbourhood differs by "
            f"{difference:.3g} from that on the whole graph; expected the same, as message passing "
            f"gives it. If messages go further, pass hops=; a model that also uses all nodes at "
            f"once is not measured"
        )
    return replace(part, difference=difference)


def reached(inputs: Inputs, start: int, keep: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """What can send to node ``start`` in ``steps`` steps over the kept edges, of each of B graphs.

    keep: bool [B, E]. Returns the nodes, bool [B, N], and the edges taken, bool [B, E].
    """
    nodes = keep.new_zeros(keep.size(0), inputs.num_nodes)
    nodes[:, start] = True
    taken = torch.zeros_like(keep)
    for _ in range(steps):
        taken = keep & nodes[:, inputs.target]
        graph, edge = taken.nonzero(as_tuple=True)
        nodes[graph, inputs.source[edge]] = True
    return nodes, taken


def distances(part: Neighbourhood) -> Tensor:
    """How many steps each edge's target is away from the centre, [m]: 0 for those that enter it."""
    keep = part.edges.new_ones(1, part.inputs.num_edges, dtype=torch.bool)
    steps = torch.full_like(part.edges, part.steps)
    for step in reversed(range(part.steps)):
        steps[reached(part.inputs, part.centre, keep, step + 1)[1][0]] = step
    return steps


def _extract(inputs: Inputs, node: int, steps: int) -> Neighbourhood:
    everything = torch.ones(1, inputs.num_edges, dtype=torch.bool, device=inputs.x.device)
    reach, taken = (rows[0] for rows in reached(inputs, node, everything, steps))
    # Loops last, where a layer that adds them lists its own: PyG's masks of edges follow the list
    # as it was passed if it has as many loops as the layer adds.
    loop = inputs.source == inputs.target
    edges = torch.cat([(taken & ~loop).nonzero(), (taken & loop).nonzero()]).squeeze(1)
    nodes = reach.nonzero().squeeze(1)
    number = reach.cumsum(0) - 1
    part = inputs.part(nodes, edges, number[inputs.edge_index[:, edges]])
    return Neighbourhood(node, int(number[node]), nodes, edges, part, steps)
