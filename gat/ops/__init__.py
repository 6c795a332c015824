"""What attention computes: pure functions of tensors over a `gat.Graph`.

`attention.py` has the public operators and `steps.py` their steps, which check (`checks.py`) and
dispatch; `backend.py` chooses the implementation: the definition (`reference.py`), blocks of edges
in torch (`blockwise/`), or compiled kernels (`library.py`, whose CPU side is `cpu/`); and for dot
attention on complete blocks and wide windows torch's own kernel (`dense/`). All of them share
`dropout.py` (the mask), `precision.py` (dtypes, overflow) and `watchers.py` (who must see torch's
operators). `selection.py` finds the largest scores of each target.
"""

from gat.ops.attention import (
    additive_attention,
    dot_attention,
    gatv2_attention,
    out_and_weights,
)
from gat.ops.backend import use_backend
from gat.ops.dropout import draw_seed, keep_mask
from gat.ops.selection import largest_scores
from gat.ops.steps import (
    additive_scores,
    aggregate,
    dot_scores,
    gatv2_scores,
    segment_entmax,
    segment_softmax,
)

__all__ = [
    "additive_attention",
    "additive_scores",
    "aggregate",
    "dot_attention",
    "dot_scores",
    "draw_seed",
    "gatv2_attention",
    "gatv2_scores",
    "keep_mask",
    "largest_scores",
    "out_and_weights",
    "segment_entmax",
    "segment_softmax",
    "use_backend",
]
