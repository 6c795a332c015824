"""Attribution through layers: how long GAtt and rollout take for a node, the largest hub, for all.

"node" is one node after another, drawn at random, a sample each; "hub" the node that most edges
enter; "all" every node in one call. The layers' records are made before. All are first held to the
nodes' computation trees (`trees.py`).
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from gat.bench import check as correctness
from gat.bench import timing
from gat.bench.case import Plan
from gat.bench.check import ErrorBound
from gat.bench.inspected import InspectShape, built
from gat.bench.peers import check_names
from gat.bench.record import Record
from gat.bench.trees import Tree, Trees
from gat.checks import one_of
from gat.inspection import Attention, record_attention
from gat.inspection.attribution import EdgeScores, NodeScores, gatt, gatt_each, rollout

__all__ = ["METHODS", "PEERS", "check", "measure_attribution", "times"]

PEERS = ("node", "hub", "all")

# Nodes that are timed for each sample that is asked for.
NODES_A_SAMPLE = 15
# Nodes whose trees are walked: of those drawn, and of all.
CHECKED, CHECKED_OF_ALL = 10, 3000


@dataclass(frozen=True)
class Method:
    """one: the scores of a node; every: those of all nodes, timed; each: the same, node by node,
    to be checked."""

    one: Callable[[Attention, int], Any]
    every: Callable[[Attention], object]
    each: Callable[[Attention], Iterable[Any]]


def _rollout_each(attention: Attention) -> Iterator[NodeScores]:
    scores = rollout(attention)
    return (scores.of(node) for node in scores.targets.tolist())


METHODS = {
    "gatt": Method(gatt, lambda attention: deque(gatt_each(attention), maxlen=0), gatt_each),
    "rollout": Method(
        lambda attention, node: rollout(attention, node).of(node), rollout, _rollout_each
    ),
}


def measure_attribution(method: str, shape: InspectShape, plan: Plan) -> Record:
    """Check, then measure the time of ``method``, "gatt" or "rollout", through the model."""
    one_of("method", method, METHODS)
    check_names(plan.peers, PEERS)
    title, what = f"{method} through {shape}", asdict(shape)
    case = plan.case("attribution", shape.graph, title, {"method": method, "shape": what})
    return plan.record("attribution", title, {"method": method, **what}, [case])


# What follows runs in processes of its own.


@dataclass(frozen=True)
class Asked:
    """The records, the nodes in the order in which they are drawn, the largest hub."""

    attention: Attention
    drawn: list[int]
    hub: int
    facts: dict[str, int | str]


def _asked(shape: dict[str, Any]) -> Asked:
    inspected = built(InspectShape(**shape))
    with torch.no_grad(), record_attention(inspected.model) as attention:
        nodes = inspected().size(0)
    draw = torch.Generator().manual_seed(0)
    degree = torch.bincount(inspected.edge_index[1], minlength=nodes)
    facts = inspected.facts() | {"layers": len(attention)}
    drawn = torch.randperm(nodes, generator=draw).tolist()
    return Asked(attention, drawn, int(degree.argmax()), facts)


def check(method: str, shape: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """The scores of nodes drawn, of the hub and of all, against the paths of their trees."""
    asked, how = _asked(shape), METHODS[method]
    trees = Trees(asked.attention)

    def found(name: str) -> Iterator[tuple[int, Any]]:
        if name == "all":
            some = set(asked.drawn[:CHECKED_OF_ALL])
            return (pair for pair in enumerate(how.each(asked.attention)) if pair[0] in some)
        nodes = [asked.hub] if name == "hub" else asked.drawn[:CHECKED]
        return ((node, how.one(asked.attention, node)) for node in nodes)

    def find(name: str) -> dict[str, float]:
        worst: dict[str, float] = {}
        for node, scores in found(name):
            for tensor, error in _errors(scores, trees.of(node)).items():
                # Unlike max, it does not lose a NaN.
                worst[tensor] = float(np.maximum(worst.get(tensor, 0.0), error))
        return worst

    errors, absent = correctness.all_errors(find, names)
    tensors = {tensor for of_peer in errors.values() for tensor in of_peer}
    nodes = len(asked.drawn)
    walked = {
        "node": f"{min(CHECKED, nodes)} nodes drawn",
        "hub": "the hub",
        "all": f"{min(CHECKED_OF_ALL, nodes):,} of {nodes:,} nodes",
    }
    return {
        "facts": asked.facts,
        "on": f"every path of the trees of {', '.join(walked[name] for name in names)}",
        "tolerance": dict.fromkeys(sorted(tensors), correctness.LEAST),
        "errors": errors,
        "absent": absent,
    }


def _errors(scores: NodeScores | EdgeScores, tree: Tree) -> dict[str, float]:
    if isinstance(scores, NodeScores):
        row = torch.zeros_like(tree.inputs)
        row[scores.nodes] = scores.values.to(row.dtype)
        found, truth = {"input nodes": row}, {"input nodes": tree.inputs}
    else:
        found = {"edges": scores.by_layer, "loops": scores.loops_by_layer}
        truth = {"edges": tree.edges, "loops": tree.loops}
    return correctness.errors_of(found, {name: _bound(tensor) for name, tensor in truth.items()})


def _bound(truth: torch.Tensor) -> ErrorBound:
    largest = float(truth.abs().max()) if truth.numel() else 0.0
    return ErrorBound(truth, largest, correctness.LEAST)


def times(method: str, shape: dict[str, Any], names: list[str], repeats: int) -> dict[str, Any]:
    """Seconds, taken in turn."""
    asked, how = _asked(shape), METHODS[method]

    def one(node: int) -> object:
        return how.one(asked.attention, node)

    takers: dict[str, timing.Taker] = {
        "node": timing.OneByOne(one, asked.drawn, NODES_A_SAMPLE),
        "hub": timing.Sampler(lambda: timing.untold(lambda: one(asked.hub))),
        "all": timing.Sampler(lambda: timing.untold(lambda: how.every(asked.attention))),
    }
    return {"samples": timing.take_turns({name: takers[name] for name in names}, repeats)}
