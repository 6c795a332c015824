"""Records of attention over sentences, images and documents, by an untrained layer."""

import torch
from torch import nn

import gat
from gat.nn import Attend

SENTENCE = ["the", "cat", "that", "sat", "on", "the", "mat", "was", "a", "very", "black", "cat"]
EVIL = "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>"
LONG = "Donaudampfschifffahrtsgesellschaftskapitänsmütze"


class Looking(nn.Module):
    """Random queries and keys, attended over on a graph of `gat.topology`."""

    def __init__(self, heads=2, normalizer="softmax"):
        super().__init__()
        self.attention = Attend(4, heads, normalizer=normalizer)

    def forward(self, graph, seed=0):
        generator = torch.Generator().manual_seed(seed)
        query, key = (
            2 * torch.randn(count, self.attention.heads, 4, generator=generator)
            for count in (graph.num_dst, graph.num_src)
        )
        return self.attention(query, key, key, graph)


def record_on(graph, heads=2, seed=0, normalizer="softmax"):
    """What `Looking` pays attention to on a graph."""
    model = Looking(heads, normalizer)
    with torch.no_grad(), gat.record_attention(model) as attention:
        model(graph, seed)
    return attention["attention"]


def dense(record, head=None):
    """The weights [num_dst, num_src] edge by edge, 0 where there is none."""
    matrix = torch.zeros(record.num_dst, record.num_src, dtype=torch.float64)
    for source, target, weights in zip(
        record.source.tolist(), record.target.tolist(), record.weights, strict=True
    ):
        matrix[target, source] += float(weights.mean() if head is None else weights[head])
    return matrix


def edges_between(record):
    """Which target has an edge from which source, bool [num_dst, num_src]."""
    matrix = torch.zeros(record.num_dst, record.num_src, dtype=torch.bool)
    matrix[record.target, record.source] = True
    return matrix


def weights_of(record, head=None, rows=slice(None)):
    """The weights of a record, NaN without an edge."""
    matrix = dense(record, head).masked_fill(~edges_between(record), float("nan"))
    return matrix[rows].numpy()
