"""How far back the edges lie that a model's output at a node depends on, found out by asking it."""

import torch
from torch import Tensor, nn

from gat.errors import InputError
from gat.inspection.fidelity.inputs import Inputs

__all__ = ["differ", "steps_back"]

# Enough for features that some activations let through.
PATHS = 16


def steps_back(model: nn.Module, inputs: Inputs, hops: int) -> int:
    """Steps that edges matter over: ``hops``, or one more if layers scale by degrees (GCNConv).

    The model is run on paths of nodes with rows of the given features: does the output at one end
    change with an edge that enters a node ``hops`` steps away, or one beyond? Comparing a part of
    the graph at hand with the whole would not tell, where the part is the whole.

    Raises InputError for a model that looks further than one more step, or whose output changes
    with an edge that leaves the path.
    """
    if not inputs.num_edges:
        return hops
    chain = [(step + 1, step) for step in range(hops + 2)]
    near, one, two, side = (
        _ends(model, inputs, hops + 4, edges)
        for edges in (chain[:hops], chain[:-1], chain, [*chain[:hops], (1, hops + 3)])
    )
    if differ(one, two):
        raise InputError(
            f"the model looks further back than {hops} rounds of messages: its output at a node "
            f"changes with an edge that enters a node {hops + 1} steps away; pass hops="
        )
    if differ(near, side):
        raise InputError(
            "the model's output at a node changes with edges that leave the nodes it looks at "
            "(layers scale by numbers of outgoing edges, as with symmetric_norm=True), which "
            "removing edges from its neighbourhood cannot show; such a model is not measured"
        )
    return hops + differ(near, one)


def differ(one: Tensor, other: Tensor) -> bool:
    """Whether outputs differ by more than sums in another order may."""
    if not one.numel():
        return False
    allowed = torch.finfo(one.dtype).eps ** 0.6 * max(1.0, float(one.abs().max()))
    # What is no number differs.
    return not bool((one - other).abs().max() <= allowed)


def _ends(model: nn.Module, inputs: Inputs, length: int, edges: list[tuple[int, int]]) -> Tensor:
    """The output at node 0 of each of many graphs of ``length`` nodes with these edges."""
    generator = torch.Generator().manual_seed(0)
    device = inputs.x.device
    nodes = torch.randint(inputs.num_nodes, (PATHS * length,), generator=generator).to(device)
    rows = torch.randint(inputs.num_edges, (PATHS, length), generator=generator).to(device)
    pair = torch.tensor(edges, device=device).t()
    if inputs.flow != "source_to_target":
        pair = pair.flip(0)
    first = torch.arange(PATHS, device=device) * length
    joined = (pair.unsqueeze(1) + first.view(1, -1, 1)).flatten(1).to(inputs.edge_index.dtype)
    copies = inputs.part(nodes, rows[:, : len(edges)].flatten(), joined)
    return copies.run(model)[first]
