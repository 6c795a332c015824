"""Training: configuration, one training step, trainer, checkpoints, stopping rules, metrics.

``train(config, run_dir)`` trains on the data a configuration names and returns a ``RunResult``;
``evaluate(run_dir)`` scores a run again. Data sets are read in ``gat.data``, networks stand in
``gat.models``; what is printed is the command line's business.
"""

from gat.train.baselines import baselines
from gat.train.budget import Choice, choose
from gat.train.checkpoint import SaveError
from gat.train.config import (
    CheckpointConfig,
    ClipConfig,
    CorrectAndSmoothConfig,
    DataConfig,
    DistillationConfig,
    FilesConfig,
    LabelsConfig,
    ModelConfig,
    OptimizerConfig,
    SamplingConfig,
    ScheduleConfig,
    StoppingConfig,
    TrainConfig,
)
from gat.train.config_files import dump_toml, load_config, save_config
from gat.train.examples_config import ExamplesConfig
from gat.train.experiment import Experiment, experiments, recipe_for
from gat.train.kinds import load_task
from gat.train.layerwise import predict
from gat.train.memory import MemoryPrediction, predict_memory
from gat.train.memory_sizes import Sizes, sizes_of
from gat.train.opened import OpenedRun, newest_run, open_run
from gat.train.opened_examples import Example, OpenedExamples
from gat.train.reproducing import reproduce
from gat.train.run import EpochRecord, RunResult, new_run_dir, versions
from gat.train.session import build_model
from gat.train.signals import Interrupted, Terminated
from gat.train.stopping import make_stopping
from gat.train.trainer import evaluate, train

__all__ = [
    "CheckpointConfig",
    "Choice",
    "ClipConfig",
    "CorrectAndSmoothConfig",
    "DataConfig",
    "DistillationConfig",
    "EpochRecord",
    "Example",
    "ExamplesConfig",
    "Experiment",
    "FilesConfig",
    "Interrupted",
    "LabelsConfig",
    "MemoryPrediction",
    "ModelConfig",
    "OpenedExamples",
    "OpenedRun",
    "OptimizerConfig",
    "RunResult",
    "SamplingConfig",
    "SaveError",
    "ScheduleConfig",
    "Sizes",
    "StoppingConfig",
    "Terminated",
    "TrainConfig",
    "baselines",
    "build_model",
    "choose",
    "dump_toml",
    "evaluate",
    "experiments",
    "load_config",
    "load_task",
    "make_stopping",
    "new_run_dir",
    "newest_run",
    "open_run",
    "predict",
    "predict_memory",
    "recipe_for",
    "reproduce",
    "save_config",
    "sizes_of",
    "train",
    "versions",
]
