"""Faithfulness: whether the edges that an explanation points at are those a prediction depends on.

`faithfulness` is the one call (`measure.py`). A node's computational subgraph (`subgraph.py`) is
scored by each method (`scorers.py`), edges go in that order (`orders.py`), the model answers for
many such copies at once (`copies.py`, `answers.py`), and the answers are averaged over nodes with
their intervals (`summary.py`, `statistics.py`) into results (`results.py`) and words
(`verdicts.py`).
"""

from gat.inspection.fidelity.measure import faithfulness
from gat.inspection.fidelity.results import Curve, Estimate, Faithfulness, MethodFaithfulness
from gat.inspection.fidelity.scorers import METHODS, Scorer

__all__ = [
    "METHODS",
    "Curve",
    "Estimate",
    "Faithfulness",
    "MethodFaithfulness",
    "Scorer",
    "faithfulness",
]
