"""Small networks of attention layers, ours or PyG's with the same parameters, for explainers."""

import copy

import torch
import torch_geometric.nn as pyg
from torch_geometric.explain import Explainer

import gat.nn

CONFIG = {"mode": "multiclass_classification", "task_level": "node", "return_type": "raw"}
WIDTH = 6


class Network(torch.nn.Module):
    """Two layers of one class; the second joins its heads to 4 classes."""

    def __init__(self, layer, heads=2, **options):
        super().__init__()
        self.first = layer(WIDTH, 5, heads=heads, **options)
        self.second = layer(5 * heads, 4, **options)

    def forward(self, x, edge_index):
        return self.second(torch.relu(self.first(x, edge_index)), edge_index)


def network(source, name, **options):
    """A network of float64 with fixed parameters, the same for source "pyg" and "gat"."""
    torch.manual_seed(3)
    theirs = Network(getattr(pyg, name), **options)
    if source == "pyg":
        return theirs.double().eval()
    ours = Network(getattr(gat.nn, name), **options)
    ours.load_state_dict(copy.deepcopy(theirs.state_dict()))
    return ours.double().eval()


def explainer(model, algorithm, **config):
    return Explainer(
        model,
        algorithm=algorithm,
        explanation_type="model",
        edge_mask_type="object",
        model_config={**CONFIG, **config},
    )
