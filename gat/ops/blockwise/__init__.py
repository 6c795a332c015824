"""Attention in plain torch over blocks of edges: no [E, H, C] tensor is made.

It serves where no kernel does: without the compiled library, and on devices without one. [E, H]
tensors are made whole, but none is kept from forward to backward, which computes the weights anew.
Under torch.compile the operators are the composition of their steps instead, of which autograd may
keep [E, H]. A second derivative of GATv2's scores holds [E, H, C].

`attention.py` has the operators, `steps.py` and `entmax.py` their steps; `blocks.py`, `terms.py`
and `hidden.py` hold the loops, as torch.library operators.
"""

from gat.ops.blockwise.attention import additive, dot, gatv2
from gat.ops.blockwise.entmax import segment_entmax
from gat.ops.blockwise.steps import (
    additive_scores,
    aggregate,
    dot_scores,
    gatv2_scores,
    segment_softmax,
)

__all__ = [
    "additive",
    "additive_scores",
    "aggregate",
    "dot",
    "dot_scores",
    "gatv2",
    "gatv2_scores",
    "segment_entmax",
    "segment_softmax",
]
