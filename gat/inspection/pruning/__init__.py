"""A smaller model, without some of its heads: made (`heads.py`), saved and loaded (`files.py`)."""

from gat.inspection.pruning.files import load_pruned, save_pruned
from gat.inspection.pruning.heads import prune_heads

__all__ = ["load_pruned", "prune_heads", "save_pruned"]
