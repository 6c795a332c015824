"""Taking down the attention of a model's layers while it runs.

`recorder.py` is the door. A layer tells through an ear (`ears.py`; `asking_ears.py`,
`silent_ears.py`; put on by `listening.py`, with hooks of `hooks.py`); its place in the model gives
the record its name (`places.py`); what was heard is brought into the caller's edge order
(`alignment.py`, `edges.py`); mini-batches are put together in `batches.py`, under the whole graph's
numbers (`numbering.py`).
"""

from gat.inspection.recording.recorder import Recording, record_attention

__all__ = ["Recording", "record_attention"]
