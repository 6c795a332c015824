"""How many edges a second a neighbour sampler draws, over the batches of an epoch.

"gat" is `gat.sampling.Sampler`: nodes, and every hop's edges grouped by target under local numbers.
"layers" also makes what the trainer hands to a model's layers: each one's graph with self-loops,
sorted in both directions. "torch" is what one writes in torch alone: it draws with replacement.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from gat.bench import graphs, timing
from gat.bench.case import Plan
from gat.bench.check import all_errors
from gat.bench.peers import check_names
from gat.bench.record import Record
from gat.checks import check_sizes
from gat.graph import Graph
from gat.sampling import Sample, Sampler
from gat.sampling.reference import expand_slowly

__all__ = ["PEERS", "SampleShape", "check", "measure_sampling", "times"]

PEERS = ("gat", "layers", "torch")
# Of the batches of an epoch: as many as a run draws, and those that are checked.
BATCHES, CHECKED = 50, 2
# Nothing may differ; a share of 0 has no tolerance to be set beside.
NONE = 1e-9


@dataclass(frozen=True, kw_only=True)
class SampleShape:
    """Fan-outs from the seeds on, and seeds in a batch; one thread, without replacement."""

    graph: str = "arxiv-size"
    fanouts: tuple[int, ...] = (15, 10)
    batch_size: int = 1024

    def __post_init__(self) -> None:
        graphs.check_name(self.graph)
        check_sizes(batch_size=self.batch_size)

    def __str__(self) -> str:
        fanouts = "/".join(map(str, self.fanouts))
        return f"sampling {fanouts} in batches of {self.batch_size:,} on {self.graph}"


def measure_sampling(shape: SampleShape, plan: Plan) -> Record:
    """Check, then measure; always on one thread."""
    check_names(plan.peers, PEERS)
    plan, what = replace(plan, threads=1), asdict(shape)
    case = plan.case("sampling", shape.graph, str(shape), {"shape": what})
    return plan.record("sampling", str(shape), what, [case])


def plain_sample(graph: Graph, seeds: Tensor, fanouts: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Nodes [n], the seeds not first, and edges [2, e] by their numbers; nodes that were found are
    expanded in the next hop, some again."""
    found, frontier = [], seeds
    for fanout in fanouts:
        degree = graph.in_degree[frontier]
        some = degree > 0
        frontier, degree = frontier[some], degree[some]
        offset = (torch.rand(frontier.numel(), fanout) * degree[:, None]).long()
        source = graph.col[graph.rowptr[frontier][:, None] + offset].flatten()
        found.append(torch.stack([source, frontier.repeat_interleave(fanout)]))
        frontier = source.unique()
    edges = torch.cat(found, dim=1)
    nodes, numbers = torch.cat([seeds, edges.flatten()]).unique(return_inverse=True)
    return nodes, numbers[seeds.numel() :].view(2, -1)


# What follows runs in processes of its own.


class _Case:
    """The graph without self-loops, a sampler, and the seeds of a few batches."""

    def __init__(self, shape: dict[str, Any]) -> None:
        self.shape = SampleShape(**{**shape, "fanouts": tuple(shape["fanouts"])})
        edges = graphs.build(self.shape.graph).edge_index
        edges = edges[:, edges[0] != edges[1]]
        self.graph = Graph.from_edge_index(edges, int(edges.max()) + 1)
        self.sampler = Sampler(self.graph, self.shape.fanouts)
        order = torch.randperm(self.graph.num_dst, generator=torch.Generator().manual_seed(0))
        self.batches = order.split(self.shape.batch_size)[:BATCHES]

    def draw(self, name: str) -> Callable[[Tensor], object]:
        if name == "torch":
            return lambda seeds: plain_sample(self.graph, seeds, self.shape.fanouts)
        if name == "layers":
            return lambda seeds: self.sampler.sample(seeds).prepare(self_loops=True)
        return self.sampler.sample

    def run(self, name: str) -> None:
        draw = self.draw(name)
        for seeds in self.batches:
            draw(seeds)


def check(shape: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """The share of nodes and edges that differ from what the definition in Python draws; of the
    plain sampler, the share of its edges that the graph does not have."""
    case = _Case(shape)
    samples = [case.sampler.sample(seeds) for seeds in case.batches]
    truth = [_defined(case, seeds) for seeds in case.batches[:CHECKED]]

    def find(name: str) -> dict[str, float]:
        if name == "torch":
            return {"nodes": 0.0, "edges": _strangers(case)}
        pairs = list(zip(samples, truth, strict=False))
        return {
            "nodes": max(_differing(a.nodes, b.nodes) for a, b in pairs),
            "edges": max(_differing(a.edge_index, b.edge_index) for a, b in pairs),
        }

    errors, absent = all_errors(find, names)
    facts = {
        "nodes": case.graph.num_dst,
        "edges": case.graph.num_edges,
        "batches": len(case.batches),
        "sampled nodes": sum(sample.nodes.numel() for sample in samples),
        "sampled edges": sum(sample.col.numel() for sample in samples),
    }
    return {
        "facts": facts,
        "on": f"{CHECKED} batches, node for node and edge for edge",
        "tolerance": {"nodes": NONE, "edges": NONE},
        "errors": errors,
        "absent": absent,
    }


def _defined(case: _Case, seeds: Tensor) -> Sample:
    from gat.sampling import hops

    fast, hops._expand = hops._expand, expand_slowly
    try:
        return case.sampler.sample(seeds)
    finally:
        hops._expand = fast


def _differing(found: Tensor, wanted: Tensor) -> float:
    if found.shape != wanted.shape:
        return 1.0
    return float((found != wanted).double().mean()) if wanted.numel() else 0.0


def _strangers(case: _Case) -> float:
    nodes, edges = plain_sample(case.graph, case.batches[0], case.shape.fanouts)
    key = nodes[edges[1]] * case.graph.num_src + nodes[edges[0]]
    known = case.graph.row * case.graph.num_src + case.graph.col
    return 1 - float(torch.isin(key, known).double().mean())


def times(shape: dict[str, Any], names: list[str], repeats: int) -> dict[str, Any]:
    """Seconds of the batches, the peers in turn."""
    case = _Case(shape)
    runs = {name: timing.Sampler(partial(timing.untold, partial(case.run, name))) for name in names}
    return {"samples": timing.take_turns(runs, repeats)}
