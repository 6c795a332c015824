"""Records made by hand, and what the measures are by definition: loops over nodes and edges."""

import math

import torch

from gat.inspection import AttentionRecord
from tests.graphs import GRAPHS


def record_of(edge_index, weights, num_src, num_dst=None, loops=None, **fields):
    """A record of ``weights`` [E, H] or [E]; without ``loops`` the layer added none."""
    num_dst = num_src if num_dst is None else num_dst
    edge_index = torch.as_tensor(edge_index, dtype=torch.int64).reshape(2, -1)
    weights = torch.as_tensor(weights, dtype=fields.pop("dtype", torch.float64))
    weights = weights.reshape(edge_index.size(1), -1) if weights.dim() == 1 else weights
    loops = weights.new_zeros(num_dst, weights.size(1)) if loops is None else loops
    return AttentionRecord(
        layer=fields.pop("layer", "conv1"),
        layer_type="GATConv",
        when=fields.pop("when", "before_dropout"),
        edge_index=edge_index,
        weights=weights,
        loops=torch.as_tensor(loops, dtype=weights.dtype),
        num_src=num_src,
        num_dst=num_dst,
        **fields,
    )


def random_record(name, heads=3, adds_loops=False, seed=0, **fields):
    """Softmax of random scores over the edges of one of GRAPHS.

    With ``adds_loops`` as layers do it: the first self-loop of a node is its loop, later ones get
    0, and every node without one gets one in ``loops``.
    """
    edge_index, num_src, num_dst = GRAPHS[name]
    generator = torch.Generator().manual_seed(seed)
    draw = torch.rand(edge_index.size(1), heads, generator=generator, dtype=torch.float64)
    weights = (4 * draw).exp()
    loops = torch.zeros(num_dst, heads, dtype=torch.float64)
    if adds_loops:
        seen = set()
        for row, (source, target) in enumerate(edge_index.t().tolist()):
            if source == target and target in seen:
                weights[row] = 0
            if source == target:
                seen.add(target)
        for node in set(range(num_dst)) - seen:
            loops[node] = 1 + 3 * torch.rand(heads, generator=generator, dtype=torch.float64)
    sums = loops.index_add(0, edge_index[1], weights).clamp(min=1e-300)
    return record_of(
        edge_index, weights / sums[edge_index[1]], num_src, num_dst, loops / sums, **fields
    )


CASES = [(name, adds) for name in GRAPHS for adds in (False, True)]
CASES = [(name, adds) for name, adds in CASES if not (adds and name.startswith("bipartite"))]
IDS = [f"{name}{'-loops' if adds else ''}" for name, adds in CASES]


def seats(record, node):
    """What a node attends over: (source, weights [H], whether it is its own loop)."""
    loops_added = bool((record.loops != 0).any())
    found, looped = [], False
    for row, (source, target) in enumerate(
        zip(record.source.tolist(), record.target.tolist(), strict=True)
    ):
        if target != node:
            continue
        own = record.same_nodes and source == target
        if own and looped and not record.weights[row].any():
            continue
        looped |= own
        found.append((source, record.weights[row].tolist(), own))
    if loops_added and not looped:
        found.append((node, record.loops[node].tolist(), True))
    seen = record.seen is None or bool(record.seen[node])
    return found if seen else []


def distribution(record, node, head):
    """The node's shares at a head, a list; None where there is no distribution."""
    weights = [weights[head] for _, weights, _ in seats(record, node)]
    total = sum(weights)
    return [weight / total for weight in weights] if total > 0 else None


def entropy_of(shares):
    return -sum(p * math.log(p) for p in shares if p > 0)


def mean(values):
    values = [value for value in values if not math.isnan(value)]
    return sum(values) / len(values) if values else math.nan


def by_definition(record, of_node, least=2):
    """The mean over targets with ``least`` edges or more of ``of_node(node, head)``, [H].

    Targets for which it is None do not count.
    """
    columns = []
    for head in range(record.num_heads):
        values = [
            of_node(node, head)
            for node in range(record.num_dst)
            if len(seats(record, node)) >= least and distribution(record, node, head) is not None
        ]
        columns.append(mean([value for value in values if value is not None]))
    return torch.tensor(columns, dtype=torch.float64)
