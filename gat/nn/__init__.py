"""Attention layers: one made of parts, drop-ins for PyTorch Geometric's, and what goes with them.

`AttentionConv` takes any score (`gat.nn.scores`) with any normaliser (`gat.nn.normalizers`). The
drop-ins carry PyG's names; `accelerate` puts them in the place of PyG's in a model that exists.
All compute by `gat.ops`.
"""

from gat.nn import normalizers, scores
from gat.nn.accelerate import accelerate, restore
from gat.nn.agnn_conv import AGNNConv
from gat.nn.alignment import BahdanauAttention, LuongAttention
from gat.nn.attend import Attend
from gat.nn.attention_conv import AttentionConv
from gat.nn.features import drop_features
from gat.nn.gat_conv import GATConv
from gat.nn.gatv2_conv import GATv2Conv
from gat.nn.han_conv import HANConv
from gat.nn.hetero_conv import HeteroConv
from gat.nn.images import AttentionPool2d, ConvBlock, ResBlock, SelfAttention
from gat.nn.local_attention import LocalAttention
from gat.nn.losses import (
    attention_agreement,
    attention_entropy,
    attention_sparsity,
    edge_agreement,
)
from gat.nn.multihead import MultiHeadAttention
from gat.nn.normalizers.monotonic import Monotonic
from gat.nn.positions import (
    flip_signs,
    laplacian_encoding,
    random_walk_encoding,
    sinusoidal_encoding,
)
from gat.nn.readout import (
    AttentionPooling,
    HierarchicalAttention,
    LastReadout,
    MeanReadout,
    graph_of_batch,
    make_readout,
)
from gat.nn.recurrent import JANET, IndRNN, SelfAttentiveLSTM, SelfAttentiveRNN
from gat.nn.relations import Relations
from gat.nn.rgat_conv import RGATConv
from gat.nn.supergat_conv import SuperGATConv
from gat.nn.transformer import DecoderBlock, EncoderBlock, FeedForward, SinusoidalPositions
from gat.nn.transformer_conv import TransformerConv
from gat.nn.weights import load_dgl_state_dict, load_pyg_state_dict

__all__ = [
    "JANET",
    "AGNNConv",
    "Attend",
    "AttentionConv",
    "AttentionPool2d",
    "AttentionPooling",
    "BahdanauAttention",
    "ConvBlock",
    "DecoderBlock",
    "EncoderBlock",
    "FeedForward",
    "GATConv",
    "GATv2Conv",
    "HANConv",
    "HeteroConv",
    "HierarchicalAttention",
    "IndRNN",
    "LastReadout",
    "LocalAttention",
    "LuongAttention",
    "MeanReadout",
    "Monotonic",
    "MultiHeadAttention",
    "RGATConv",
    "Relations",
    "ResBlock",
    "SelfAttention",
    "SelfAttentiveLSTM",
    "SelfAttentiveRNN",
    "SinusoidalPositions",
    "SuperGATConv",
    "TransformerConv",
    "accelerate",
    "attention_agreement",
    "attention_entropy",
    "attention_sparsity",
    "drop_features",
    "edge_agreement",
    "flip_signs",
    "graph_of_batch",
    "laplacian_encoding",
    "load_dgl_state_dict",
    "load_pyg_state_dict",
    "make_readout",
    "normalizers",
    "random_walk_encoding",
    "restore",
    "scores",
    "sinusoidal_encoding",
]
