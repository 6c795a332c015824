"""What a model does with other attention than its own: context managers that leave it as it was.

`contexts.py` has them; `changing.py` puts a change into a layer and takes it out again (by the door
`gat.nn.changes`, or by hooks, `hooked.py`); what a change does to weights and scores is in
`weight_changes.py`, `edge_changes.py` and `frozen.py`.
"""

from gat.inspection.interventions.contexts import (
    bias_edges,
    change_attention,
    freeze_attention,
    mask_edges,
    switch_off_heads,
    uniform_attention,
)

__all__ = [
    "bias_edges",
    "change_attention",
    "freeze_attention",
    "mask_edges",
    "switch_off_heads",
    "uniform_attention",
]
