"""What attention does, in numbers: one layer's record to a few numbers per head.

`measure` works out all of them. Read `shares.py` first: it says what a target's distribution is,
which every measure here is of. Verdicts in words are `gat.inspection.verdicts`; what needs several
layers at once stands elsewhere in `gat/inspection/`.
"""

from gat.inspection.measures.classes import ClassMeans, ClassWeight, class_weight
from gat.inspection.measures.degrees import DegreeWeight, degree_weight
from gat.inspection.measures.entropies import DegreeClass, Entropy, entropy
from gat.inspection.measures.epochs import EpochChange, change_over_epochs
from gat.inspection.measures.heads import HeadAgreement, head_agreement
from gat.inspection.measures.layer import LayerMeasures, Measures, NodeCounts, measure
from gat.inspection.measures.own_weight import SelfWeight, self_weight
from gat.inspection.measures.shares import Shares, shares_of

__all__ = [
    "ClassMeans",
    "ClassWeight",
    "DegreeClass",
    "DegreeWeight",
    "Entropy",
    "EpochChange",
    "HeadAgreement",
    "LayerMeasures",
    "Measures",
    "NodeCounts",
    "SelfWeight",
    "Shares",
    "change_over_epochs",
    "class_weight",
    "degree_weight",
    "entropy",
    "head_agreement",
    "measure",
    "self_weight",
    "shares_of",
]
