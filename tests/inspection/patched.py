"""The definition of an intervention: PyG's own layer, its softmax replaced by what is to happen."""

import contextlib
import importlib

import torch
import torch_geometric.nn as pyg

import gat.nn
from tests.graphs import GRAPHS

WIDTH, HEADS, RELATIONS = 6, 2, 3
MODULES = {
    "GATConv": "gat_conv",
    "GATv2Conv": "gatv2_conv",
    "TransformerConv": "transformer_conv",
    "SuperGATConv": "supergat_conv",
    "AGNNConv": "agnn_conv",
    "RGATConv": "rgat_conv",
}
NAMES = list(MODULES)
LOOPED = ["GATConv", "GATv2Conv", "SuperGATConv", "AGNNConv"]


def heads_of(name):
    return {"AGNNConv": 1, "RGATConv": HEADS * 2}.get(name, HEADS)


def options(name):
    if name == "AGNNConv":
        return (), {}
    if name == "RGATConv":
        mode = "multiplicative-self-attention"
        return (WIDTH, 5, RELATIONS), {"heads": HEADS, "dim": 2, "attention_mode": mode}
    edges = {} if name == "SuperGATConv" else {"edge_dim": 3}
    return (WIDTH, 5), {"heads": HEADS, **edges}


def layers(name, **more):
    """PyG's layer and ours with the same parameters, in float64, in evaluation."""
    sizes, given = options(name)
    theirs = getattr(pyg, name)(*sizes, **{**given, **more}).double().eval()
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.6)
    ours = getattr(gat.nn, name)(*sizes, **{**given, **more}).double().eval()
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def inputs(name, graph):
    """Features, edges, and what else the layer takes for each edge."""
    edge_index, num_nodes, _ = GRAPHS[graph]
    count = edge_index.size(1)
    x = torch.randn(num_nodes, WIDTH, dtype=torch.float64)
    if name == "RGATConv":
        return x, edge_index, torch.arange(count) % RELATIONS
    if name in ("SuperGATConv", "AGNNConv"):
        return x, edge_index
    return x, edge_index, torch.randn(count, 3, dtype=torch.float64)


def origin(name, edge_index, num_nodes):
    """The caller's number of each edge the layer attends over, -1 of a loop that it added."""
    count = edge_index.size(1)
    if name not in LOOPED:
        return torch.arange(count)
    pairs = edge_index.t().tolist()
    kept = [number for number, (source, target) in enumerate(pairs) if source != target]
    first = [
        pairs.index([node, node]) if [node, node] in pairs else -1 for node in range(num_nodes)
    ]
    return torch.tensor(kept + first, dtype=torch.int64)


def listed(rows, number, added):
    """Rows of the caller's edges in the layer's order, ``added`` for its own loops."""
    if not number.numel():
        return rows[:0]
    return torch.stack([rows[k] if k >= 0 else added for k in number.tolist()])


@contextlib.contextmanager
def softmax_replaced(name, make):
    """PyG's layer of that name works with ``make(scores [E', H], index, softmax)`` for weights."""
    module = importlib.import_module(f"torch_geometric.nn.conv.{MODULES.get(name, name)}")
    real = module.softmax

    def replaced(scores, index, ptr=None, num_nodes=None):
        flat = scores.unsqueeze(1) if scores.dim() == 1 else scores
        weights = make(flat, index, lambda s: softmax(s, index, num_nodes))
        return weights.view(scores.shape)

    module.softmax = replaced
    try:
        yield
    finally:
        module.softmax = real


def softmax(scores, index, num_nodes):
    """Over the entries of each index; -inf is a mask, and one that masks all gives 0."""
    weights = torch.zeros_like(scores)
    for node in index.unique().tolist():
        rows = (index == node).nonzero().squeeze(1)
        for head in range(scores.size(1)):
            kept = rows[scores[rows, head] > -torch.inf]
            weights = weights.index_put(
                (kept, torch.full_like(kept, head)), scores[kept, head].softmax(0)
            )
    return weights


def results(layer, given):
    """The output, and the gradients of features and parameters."""
    x, *rest = given
    x = x.clone().requires_grad_()
    layer.zero_grad()
    out = layer(x, *rest)
    (out * torch.linspace(-1, 2, out.numel(), dtype=out.dtype).view_as(out)).sum().backward()
    named = dict(layer.named_parameters())
    grads = {k: torch.zeros_like(p) if p.grad is None else p.grad for k, p in named.items()}
    return out, torch.zeros_like(x) if x.grad is None else x.grad, grads
