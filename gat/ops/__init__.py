"""What attention computes: pure functions of tensors over a `gat.Graph`.

`reference.py` is the definition; `attention.py` the public functions, which check and dispatch;
`backend.py` chooses the implementation; `dropout.py` the mask all of them share.
"""

from gat.ops.attention import additive_attention, dot_attention, gatv2_attention
from gat.ops.backend import use_backend
from gat.ops.dropout import draw_seed, keep_mask

__all__ = [
    "additive_attention",
    "dot_attention",
    "draw_seed",
    "gatv2_attention",
    "keep_mask",
    "use_backend",
]
