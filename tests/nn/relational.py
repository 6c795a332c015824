"""Layers of several relations for the tests: twins, inputs, the options that make a grid."""

import itertools

import torch
import torch_geometric.nn as pyg

from gat.nn.rgat_conv import RGATConv
from tests.graphs import GRAPHS
from tests.nn.twins import EDGE_DIM

RELATIONS = 4
WIDTH = 6
ADDITIVE, MULTIPLICATIVE = "additive-self-attention", "multiplicative-self-attention"
MECHANISMS = ("across-relation", "within-relation")
MODS = (None, "additive", "scaled", "f-additive", "f-scaled")
# Every way of attending: mechanism, mode, and how many dimensions the scores have.
WAYS = [
    {"attention_mechanism": mechanism, "attention_mode": mode, "dim": dim}
    for mechanism, (mode, dim) in itertools.product(
        MECHANISMS, [(ADDITIVE, 1), (MULTIPLICATIVE, 1), (MULTIPLICATIVE, 2)]
    )
]


def named(options):
    """A readable id for a test's options."""
    return "-".join(str(value).removesuffix("-self-attention") for value in options.values())


def rgat_twins(**options):
    """PyG's layer and ours, in float64, with the same parameters."""
    options = {"heads": 3, "num_relations": RELATIONS, **options}
    theirs = pyg.RGATConv(WIDTH, 5, **options).double()
    torch.nn.init.normal_(theirs.l2)  # which PyG leaves as the memory was
    ours = RGATConv(WIDTH, 5, **options).double()
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def typed(name):
    """edge_index, x, edge_type and edge_attr of a graph by name; the last relation is empty."""
    edge_index, num_src, _ = GRAPHS[name]
    num_edges = edge_index.size(1)
    edge_type = torch.arange(num_edges) * 7 % 5 % (RELATIONS - 1)
    x = torch.randn(num_src, WIDTH, dtype=torch.float64)
    return edge_index, x, edge_type, torch.randn(num_edges, EDGE_DIM, dtype=torch.float64)
