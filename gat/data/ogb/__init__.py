"""Open Graph Benchmark's node data sets, read and scored by the package ``ogb`` (extra "ogb").

``files`` knows OGB's layout and what must lie there, ``package`` imports ogb without its side
effects, ``raw`` lets ogb's loader turn raw files into arrays, ``arrays`` names them, ``kept``
maps the copy of them that later loads use, ``reader`` makes tasks of them, ``scoring`` asks ogb's
Evaluator. Reading needs the package at the first load only.
ogbn-papers100M (111 million nodes) is not among the cards.
"""

from gat.data.ogb.package import require
from gat.data.ogb.reader import load_hetero, read_ogb
from gat.data.ogb.scoring import ogb_metric

__all__ = ["load_hetero", "ogb_metric", "read_ogb", "require"]
