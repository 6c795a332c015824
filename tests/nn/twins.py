"""PyG's layer and ours with the same parameters, and the comparison of all they compute."""

import contextlib
import importlib
import inspect

import torch
import torch_geometric.nn as pyg
from torch_geometric.nn import MessagePassing

import gat.nn
from tests.graphs import GRAPHS

# The layers that share GAT's conventions: edge features filled for loops, weights after dropout.
GATS = ["GATConv", "GATv2Conv"]
# Those with a projection, so with sizes and heads.
SIZED = [*GATS, "TransformerConv", "SuperGATConv"]
NAMES = [*SIZED, "AGNNConv"]
LOOPED = [*GATS, "SuperGATConv", "AGNNConv"]
# Those that take a pair of features, for a bipartite graph.
PAIRED = [*GATS, "TransformerConv"]
EDGE_DIM = 3
# Modules of PyG's layers that return no weights themselves.
SILENT = {"SuperGATConv": "supergat_conv", "AGNNConv": "agnn_conv"}


def options_of(name):
    """The options a layer of PyG's has, beside sizes."""
    own = inspect.signature(getattr(pyg, name)).parameters
    shared = inspect.signature(MessagePassing).parameters
    return {*own, *shared} - {"kwargs"}


def build(library, name, *sizes, **options):
    """The layer of that name in float64, given those of the sizes and options that it has.

    SuperGATConv in eval mode: in training it draws edges, of which its own tests tell.
    """
    known = {key: value for key, value in options.items() if key in options_of(name)}
    layer = getattr(library, name)(*(() if name == "AGNNConv" else sizes), **known).double()
    return layer.eval() if name == "SuperGATConv" else layer


def ours(name, *sizes, **options):
    return build(gat.nn, name, *sizes, **options)


def twins(name, *sizes, **options):
    """PyG's layer and ours, in float64, with the same parameters."""
    theirs, mine = (build(library, name, *sizes, **options) for library in (pyg, gat.nn))
    if name == "AGNNConv":
        theirs.beta.data.fill_(1.7)
    mine.load_state_dict(theirs.state_dict())
    return theirs, mine


@contextlib.contextmanager
def softmax_seen(name):
    """What PyG's layer of that name gets from its softmax, in a list."""
    module = importlib.import_module(f"torch_geometric.nn.conv.{SILENT[name]}")
    seen, real = [], module.softmax
    module.softmax = lambda *args, **kwargs: seen.append(real(*args, **kwargs)) or seen[-1]
    try:
        yield seen
    finally:
        module.softmax = real


def with_weights(layer, *args, **kwargs):
    """(output, weights [E, H]) of a layer of either library."""
    name = type(layer).__name__
    if name not in SILENT or isinstance(layer, getattr(gat.nn, name)):
        out, (_, weights) = layer(*args, return_attention_weights=True, **kwargs)
        return out, weights
    with softmax_seen(name) as seen:
        out = layer(*args, **kwargs)
    return out, seen[0].unsqueeze(1) if seen[0].dim() == 1 else seen[0]


def leaf(given):
    """A copy of its own with a gradient, of what can have one."""
    dense = isinstance(given, torch.Tensor) and given.layout is torch.strided
    if dense and given.is_floating_point():
        return given.detach().clone().requires_grad_()
    return given


def compare(theirs, mine, x, *args, **kwargs):
    """Outputs, weights and every gradient (features, edge features, parameters) agree."""
    results = []
    for layer in (theirs, mine):
        leaves = [leaf(part) for part in (x if isinstance(x, tuple) else (x,))]
        rest = [leaf(part) for part in args]
        features = tuple(leaves) if isinstance(x, tuple) else leaves[0]
        layer.zero_grad()
        out, weights = with_weights(layer, features, *rest, **kwargs)
        scale = torch.linspace(-1, 2, out.numel(), dtype=out.dtype).view_as(out)
        (out * scale).sum().add(weights.square().sum()).backward()
        wanted = [t for t in (*leaves, *rest) if isinstance(t, torch.Tensor) and t.requires_grad]
        # A gradient an empty graph cuts off is None in PyG and may be 0 in ours.
        grads = [torch.zeros_like(t) if t.grad is None else t.grad for t in wanted]
        named = {
            k: torch.zeros_like(p) if p.grad is None else p.grad
            for k, p in layer.named_parameters()
        }
        results.append((out, weights, grads, named))
    torch.testing.assert_close(results[1], results[0])


def features(edge_index_name, width=6):
    edge_index, num_src, num_dst = GRAPHS[edge_index_name]
    x = torch.randn(num_src, width, dtype=torch.float64)
    edge_attr = torch.randn(edge_index.size(1), EDGE_DIM, dtype=torch.float64)
    return edge_index, x, edge_attr, num_dst
