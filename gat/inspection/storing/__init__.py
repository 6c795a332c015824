"""Attention on disk, as Arrow files that are mapped rather than read, and as tables and graphs.

`saving.py` writes and opens whole records, `spool.py` takes them batch by batch; both over
`attention_folder.py` (which files there are), `arrow_files.py` (what is in them) and
`mapped_file.py` (tensors that lie on them). `tables.py` hands records to pandas and networkx.
"""

from gat.inspection.storing.saving import load_attention, save_attention
from gat.inspection.storing.spool import Spool, publish
from gat.inspection.storing.tables import to_networkx, to_pandas

__all__ = [
    "Spool",
    "load_attention",
    "publish",
    "save_attention",
    "to_networkx",
    "to_pandas",
]
