"""Attention layers: drop-ins for PyTorch Geometric's, computed by `gat.ops`."""

from gat.nn.features import drop_features
from gat.nn.gat_conv import GATConv
from gat.nn.gatv2_conv import GATv2Conv

__all__ = ["GATConv", "GATv2Conv", "drop_features"]
