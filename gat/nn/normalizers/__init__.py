"""How scores become weights: what `AttentionConv` takes as ``normalizer``, by name or as an object.

A normaliser of your own is one class: derive from `Normalizer`, give weights [E, H] for scores
[E, H] in ``forward``, and name it with ``@NORMALIZERS.add("name")`` if you want a name. Where the
weights are a softmax of scores that can be had otherwise, `Normalizer.attend` may hand them to the
form's fused operator (`gat.nn.forms`) instead. A score of -inf is a mask: its weight is 0.
"""

from gat.nn.normalizers.base import NORMALIZERS, Normalizer
from gat.nn.normalizers.hard import Entmax, Entmax15, Gumbel, Sparsemax, Threshold, TopK
from gat.nn.normalizers.monotonic import Monotonic
from gat.nn.normalizers.smooth import Sigmoid, Softmax, Tanh, Uniform

__all__ = [
    "NORMALIZERS",
    "Entmax",
    "Entmax15",
    "Gumbel",
    "Monotonic",
    "Normalizer",
    "Sigmoid",
    "Softmax",
    "Sparsemax",
    "Tanh",
    "Threshold",
    "TopK",
    "Uniform",
]
