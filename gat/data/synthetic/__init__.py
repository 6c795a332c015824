"""Replicas of benchmark data sets: same files and sizes, planted structure, any scale.

``write_replica`` writes a replica of one of OGB's data sets of node classification in OGB's own
raw format, so that the real ``ogb`` reads it; ``write_ppi`` writes one of PPI. ``planted_graph``
and ``planted_mag`` make the same arrays without touching the disk. numpy is all they need.
A replica is no stand-in for results: its scores say nothing about the real data.
"""

from gat.data.synthetic.facts import NAMES
from gat.data.synthetic.mag import Heterograph, planted_mag
from gat.data.synthetic.planted import Planted, PlantedGraph, planted_graph
from gat.data.synthetic.ppi import write_ppi
from gat.data.synthetic.replica import write_replica

__all__ = [
    "NAMES",
    "Heterograph",
    "Planted",
    "PlantedGraph",
    "planted_graph",
    "planted_mag",
    "write_ppi",
    "write_replica",
]
