"""Speed and memory, ours beside the peers in one run; correctness before either.

`measure_layer` and its like each measure one thing by a `Plan` and return a `Record`; `targets.py`
lists the rows that the project answers for, `report.py` renders what was stored of them. Every
figure comes from a process of its own kind (`process.py`): one per peer for memory, one per malloc
mode for time, in which all peers take turns. A layer is measured on a GPU too (`gpu.py`). What is
printed is the command line's business.
"""

from gat.bench.attribution import measure_attribution
from gat.bench.case import Plan
from gat.bench.conv import ConvShape, measure_conv
from gat.bench.full import FullShape, measure_full
from gat.bench.inference import InferenceShape, measure_inference
from gat.bench.inspected import InspectShape
from gat.bench.layer import measure_layer, measure_scaling
from gat.bench.load import LoadShape, measure_load
from gat.bench.model import ModelShape, measure_model
from gat.bench.record import Record
from gat.bench.recording import measure_recording
from gat.bench.sampling import SampleShape, measure_sampling
from gat.bench.sequence import SequenceShape, measure_sequence
from gat.bench.shape import Shape
from gat.bench.sparse import measure_sparse
from gat.bench.step import measure_step
from gat.bench.targets import TARGETS, target
from gat.bench.train import TrainShape, measure_train

__all__ = [
    "TARGETS",
    "ConvShape",
    "FullShape",
    "InferenceShape",
    "InspectShape",
    "LoadShape",
    "ModelShape",
    "Plan",
    "Record",
    "SampleShape",
    "SequenceShape",
    "Shape",
    "TrainShape",
    "measure_attribution",
    "measure_conv",
    "measure_full",
    "measure_inference",
    "measure_layer",
    "measure_load",
    "measure_model",
    "measure_recording",
    "measure_sampling",
    "measure_scaling",
    "measure_sequence",
    "measure_sparse",
    "measure_step",
    "measure_train",
    "target",
]
