"""Speed and memory, ours beside the peers in one run; correctness before either.

`layer`, `scaling`, `step` and `sparse` each measure one thing by a `Plan` and return a `Record`;
`targets.py` lists the rows that the project answers for, `report.py` renders what was stored of
them. Every figure comes from a process of its own kind (`process.py`): one per peer for memory, one
per malloc mode for time, in which all peers take turns. What is printed is the command line's
business.
"""

from gat.bench.case import Plan
from gat.bench.layer import layer, scaling
from gat.bench.record import Record
from gat.bench.shape import Shape
from gat.bench.sparse import sparse
from gat.bench.step import step
from gat.bench.targets import TARGETS, target

__all__ = ["TARGETS", "Plan", "Record", "Shape", "layer", "scaling", "sparse", "step", "target"]
