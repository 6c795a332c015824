"""Models whose answers are known by hand, and the measures of faithfulness by brute force."""

import torch
from torch_geometric.nn import MessagePassing


class Sum(MessagePassing):
    """Two classes with logits (0, the sum over incoming edges of x's first column)."""

    def __init__(self, flow="source_to_target"):
        super().__init__(aggr="sum", flow=flow)

    def forward(self, x, edge_index):
        total = self.propagate(edge_index, x=x[:, :1])
        return torch.cat([torch.zeros_like(total), total], dim=1)


def sigmoid(value):
    return float(torch.tensor(value, dtype=torch.float64).sigmoid())


def star(*values, loops=0):
    """x [n + 1, 1] and edges from nodes 1.. with these values to node 0, whose own value is 0."""
    x = torch.tensor([[0.0], *([value] for value in values)], dtype=torch.float64)
    edges = [[source, 0] for source in range(1, len(values) + 1)] + [[0, 0]] * loops
    return x, torch.tensor(edges, dtype=torch.int64).reshape(-1, 2).t()


def by_value(model, x, edge_index, node):
    """The perfect scorer of `Sum`."""
    return x[edge_index[0], 0]


def by_features(model, x, edge_index, node):
    """A score that is the same wherever the edge stands."""
    return (x[edge_index[0]] * x[edge_index[1]]).sum(1) + x[edge_index[0], 0]


def within(edge_index, node, hops):
    """The numbers of the edges that ``node``'s result over ``hops`` layers depends on."""
    nodes, edges = {node}, set()
    for _ in range(hops):
        entering = [e for e, (_, target) in enumerate(edge_index.t().tolist()) if target in nodes]
        edges |= set(entering)
        nodes |= {int(edge_index[0, e]) for e in entering}
    return sorted(edges)


def probability(model, x, edge_index, kept, node):
    """All classes' probabilities at ``node`` on the whole graph with the edges ``kept`` alone."""
    kept = torch.as_tensor(sorted(kept), dtype=torch.int64)
    with torch.no_grad():
        return model(x, edge_index[:, kept])[node].double().softmax(-1)


def measures(model, x, edge_index, node, ranked, fractions, top_k):
    """By brute force on the whole graph; ``ranked``: groups of edges that go as one, best first."""
    every = set(range(edge_index.size(1)))

    def without(count):
        gone = {edge for group in ranked[:count] for edge in group}
        return probability(model, x, edge_index, every - gone, node)

    def alone(count):
        gone = {edge for group in ranked[count:] for edge in group}
        return probability(model, x, edge_index, every - gone, node)

    whole = without(0)
    target = int(whole.argmax())
    counts = [int(fraction * len(ranked) + 0.5) for fraction in fractions]
    deletion = torch.stack([without(count)[target] for count in counts])
    insertion = torch.stack([alone(count)[target] for count in counts])
    found = {"deletion": deletion, "insertion": insertion}
    for side, ask in (("plus", without), ("minus", alone)):
        asked = [ask(k) for k in top_k]
        found[f"fidelity_{side}"] = torch.stack([whole[target] - one[target] for one in asked])
        wrong = [float(int(one.argmax()) != target) for one in asked]
        found[f"accuracy_{side}"] = torch.tensor(wrong, dtype=torch.float64)
    return found
