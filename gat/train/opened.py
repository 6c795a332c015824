"""A finished run, opened to look into: its model with the weights it kept, and what it was fed."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from gat.data import NodeTask, TaskGraph
from gat.errors import IndexRangeError, InputError
from gat.train import checkpoint
from gat.train.batches import Batch, make_batches
from gat.train.config import TrainConfig
from gat.train.run import RunResult
from gat.train.step import evaluate_batches
from gat.train.trainer import evaluate, load_task

__all__ = ["OpenedRun", "newest_run", "open_run"]


@dataclass(frozen=True, eq=False)
class OpenedRun:
    """A run ready to be asked: ``run.model(run.x, run.edge_index)`` gives its predictions.

    path: its folder; result: its scores; task, config: what it was trained on and how; graph: that
    of the task's graphs that is looked at, and number its place there; model: in eval mode, with
    the weights the run kept; batches: all graphs as it was fed them; x: float32 [N, F], dense, and
    edge_index: int64 [2, E], of the graph looked at, as it was fed them.
    """

    path: Path
    result: RunResult
    task: NodeTask
    config: TrainConfig
    graph: TaskGraph
    number: int
    model: nn.Module
    x: Tensor
    edge_index: Tensor
    batches: list[Batch]

    @property
    def labels(self) -> Tensor | None:
        """The class of each node, int64 [N], -1 unknown; None where nodes have several."""
        return None if self.task.multilabel else self.graph.y

    def part(self, name: str) -> Tensor:
        """The numbers of the nodes of "train", "val" or "test", int64."""
        return self.graph.masks()[name][:, self.config.data.split].nonzero().squeeze(1)

    def score(self, part: str = "test") -> float:
        """The task's metric of the model as it is now, over all graphs: the run's own number, or,
        inside an intervention, what it would be."""
        found = evaluate_batches(self.model, self.batches, self.task.metric, (part,))
        return found[part].metric


def open_run(run_dir: str | Path, graph: int | None = None) -> OpenedRun:
    """Open a run for inspection. graph: which of the task's graphs to look at, where there are
    several; by default the first with test nodes.

    Runs on the CPU. Raises InputError where there is no run, CheckpointMismatchError where its
    data have changed, IndexRangeError for a graph the task has not.
    """
    path = Path(run_dir)
    result = evaluate(path)
    config = TrainConfig(**checkpoint.load(path).meta["config"])
    task = load_task(config.data)
    number = _chosen(task, graph, config.data.split)
    data = config.data.model_copy(update={"features": "dense"})
    batches = make_batches(task, data, torch.device("cpu"))
    assert result.model is not None
    return OpenedRun(
        path,
        result,
        task,
        config,
        task.graphs[number],
        number,
        result.model.cpu().eval(),
        batches[number].x,
        batches[number].edges.edge_index,
        batches,
    )


def newest_run(parent: str | Path = "runs") -> Path:
    """The run under ``parent`` that was started last. Raises InputError where there is none."""
    folder = Path(parent)
    runs = [path for path in folder.glob("*") if path.is_dir() and checkpoint.exists(path)]
    if not runs:
        raise InputError(
            f"{folder}/ holds no run; train one first (gat train cora), or name the run's folder"
        )
    return max(runs, key=lambda path: ((path / "config.toml").stat().st_mtime, path.name))


def _chosen(task: NodeTask, number: int | None, split: int) -> int:
    count = len(task.graphs)
    if number is None:
        with_test = (k for k, one in enumerate(task.graphs) if bool(one.test_mask[:, split].any()))
        return next(with_test, 0)
    if not 0 <= number < count:
        raise IndexRangeError(f"graph is {number}; {task.name} has {count} graphs, counted from 0")
    return number
