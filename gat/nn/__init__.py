"""Attention layers: drop-ins for PyTorch Geometric's, computed by `gat.ops`."""

from gat.nn.agnn_conv import AGNNConv
from gat.nn.features import drop_features
from gat.nn.gat_conv import GATConv
from gat.nn.gatv2_conv import GATv2Conv
from gat.nn.supergat_conv import SuperGATConv
from gat.nn.transformer_conv import TransformerConv

__all__ = [
    "AGNNConv",
    "GATConv",
    "GATv2Conv",
    "SuperGATConv",
    "TransformerConv",
    "drop_features",
]
