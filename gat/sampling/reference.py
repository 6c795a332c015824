"""The definition of a hop, in plain Python: the compiled sampler is held to it, edge for edge."""

import math

import torch
from torch import Tensor

from gat.graph import CompactEdges
from gat.sampling.draws import below, draw, fraction, stream
from gat.sampling.hops import Expansion, Known, Rule

__all__ = ["expand_slowly"]


def expand_slowly(
    edges: CompactEdges,
    frontier: Tensor,
    known: Known,
    rule: Rule,
    key: int,
    tree: Tensor | None = None,
    tree_time: Tensor | None = None,
) -> Expansion:
    """As `gat.sampling.hops.expand`."""
    ends, source, edge = [0], [], []
    numbers = _Numbers(known)
    for place, node in enumerate(frontier.tolist()):
        begin, end = (int(edges.rowptr[node + k]) for k in (0, 1))
        its_tree = None if tree is None else int(tree[place])
        until = None if tree_time is None else int(tree_time[place])
        allowed = [e for e in range(begin, end) if _allowed(edges, rule, e, until)]
        chosen = _choose(edges, rule, allowed, begin, stream(key, node, its_tree))
        edge += chosen
        source += [numbers.number(int(edges.col[e]), its_tree) for e in chosen]
        ends.append(len(edge))
    numbers.finish()
    return Expansion(
        torch.tensor(ends),
        torch.tensor(source, dtype=torch.int32),
        torch.tensor(edge, dtype=edges.col.dtype),
    )


def _allowed(edges: CompactEdges, rule: Rule, edge: int, until: int | None) -> bool:
    if rule.weight is not None and rule.fanout >= 0 and not rule.weight[edge] > 0:
        return False
    time = _time(edges, rule, edge)
    return time is None or until is None or time <= until


def _time(edges: CompactEdges, rule: Rule, edge: int) -> int | None:
    if rule.edge_time is not None:
        return int(rule.edge_time[edge])
    return None if rule.node_time is None else int(rule.node_time[int(edges.col[edge])])


def _choose(
    edges: CompactEdges, rule: Rule, allowed: list[int], begin: int, state: int
) -> list[int]:
    count, n = rule.fanout, len(allowed)
    if count < 0 or (n <= count and (rule.last or not rule.replace)):
        return allowed
    if n == 0 or count == 0:
        return []
    if rule.last:
        by_age = sorted(allowed, key=lambda e: (_time(edges, rule, e) or 0, e))
        return sorted(by_age[-count:])
    if rule.weight is not None:
        weigh = _with_weights_again if rule.replace else _with_weights
        return weigh(rule.weight, allowed, count, begin, state)
    if rule.replace:
        return [allowed[below(draw(state, k), n)] for k in range(count)]
    return [allowed[k] for k in _distinct(n, count, state)]


def _distinct(n: int, count: int, state: int) -> list[int]:
    """Floyd's sample without replacement (Bentley and Floyd 1987, "A sample of brilliance")."""
    taken: list[int] = []
    for k, most in enumerate(range(n - count, n)):
        drawn = below(draw(state, k), most + 1)
        taken.append(most if drawn in taken else drawn)
    return taken


def _with_weights(
    weight: Tensor, allowed: list[int], count: int, begin: int, state: int
) -> list[int]:
    """The first to arrive at rates of their weights (Efraimidis and Spirakis 2006)."""
    arrival = {e: -math.log(fraction(draw(state, e - begin))) / float(weight[e]) for e in allowed}
    return sorted(sorted(allowed, key=lambda e: (arrival[e], e))[:count])


def _with_weights_again(
    weight: Tensor, allowed: list[int], count: int, begin: int, state: int
) -> list[int]:
    """Each drawn anew, in proportion to the weights."""
    sums, total = [], 0.0
    for e in allowed:
        total += float(weight[e])
        sums.append(total)
    chosen = []
    for k in range(count):
        at = fraction(draw(state, k)) * total
        place = next((p for p, upto in enumerate(sums) if upto >= at), len(sums) - 1)
        chosen.append(allowed[place])
    return chosen


class _Numbers:
    """Local numbers, and the nodes found on the way."""

    def __init__(self, known: Known) -> None:
        self.known = known
        nodes = [node for piece in known.nodes for node in piece.tolist()]
        trees: list[int | None] = [None] * len(nodes)
        if known.trees is not None:
            trees = [tree for piece in known.trees for tree in piece.tolist()]
        keys = zip(trees, nodes, strict=True)
        self.numbers = {key: number for number, key in enumerate(keys)}
        self.before = len(nodes)

    def number(self, node: int, tree: int | None) -> int:
        return self.numbers.setdefault((tree, node), len(self.numbers))

    def finish(self) -> None:
        found = list(self.numbers)[self.before :]
        nodes = torch.tensor([node for _, node in found], dtype=torch.int64)
        trees = None
        if self.known.trees is not None:
            trees = torch.tensor([tree for tree, _ in found], dtype=torch.int64)
        if self.known.table is not None and nodes.numel():
            count = self.known.count
            self.known.table[nodes] = torch.arange(count, count + nodes.numel(), dtype=torch.int32)
        self.known.add(nodes, trees)
