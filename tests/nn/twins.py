"""PyG's layer and ours with the same parameters, and the comparison of all they compute."""

import torch
import torch_geometric.nn as pyg

import gat.nn
from tests.graphs import GRAPHS

NAMES = ["GATConv", "GATv2Conv"]
EDGE_DIM = 3


def twins(name, *args, **kwargs):
    """PyG's layer and ours, in float64, with the same parameters."""
    theirs = getattr(pyg, name)(*args, **kwargs).double()
    ours = getattr(gat.nn, name)(*args, **kwargs).double()
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def compare(theirs, ours, x, *args, **kwargs):
    """Outputs, weights and every gradient (features, edge features, parameters) agree."""
    results = []
    for layer in (theirs, ours):
        leaves = [
            t.detach().clone().requires_grad_() if t is not None and t.is_floating_point() else t
            for t in (x if isinstance(x, tuple) else (x,))
        ]
        rest = [
            a.detach().clone().requires_grad_()
            if isinstance(a, torch.Tensor) and a.layout is torch.strided and a.is_floating_point()
            else a
            for a in args
        ]
        features = tuple(leaves) if isinstance(x, tuple) else leaves[0]
        out, (_, weights) = layer(features, *rest, return_attention_weights=True, **kwargs)
        layer.zero_grad()
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
