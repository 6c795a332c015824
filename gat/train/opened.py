"""A finished run, opened to look into: its model with the weights it kept, and what it was fed."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gat.data import NodeTask, TaskGraph
from gat.errors import IndexRangeError, InputError
from gat.train import checkpoint
from gat.train.batches import Batch, make_batches
from gat.train.config import TrainConfig
from gat.train.example_session import ExampleSession
from gat.train.opened_examples import OpenedExamples
from gat.train.run import RunResult
from gat.train.step import evaluate_batches, fed
from gat.train.trainer import evaluated

__all__ = ["OpenedRun", "newest_run", "open_run"]


@dataclass(frozen=True, eq=False)
class OpenedRun:
    """A run ready to be asked: ``run.model(run.x, run.edge_index)`` gives its predictions.

    path: its folder; result: its scores; task, config: what it was trained on and how; graph: that
    of the task's graphs that is looked at, and number its place there; model: in eval mode, with
    the weights the run kept; batches: all graphs as it was fed them; x: float32 [N, F], dense, and
    edge_index: int64 [2, E], of the graph looked at, as it was fed them in evaluation: with the
    training labels, and predictions in the place of the others, where these are inputs.
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

    @property
    def name(self) -> str:
        """The data's name, for titles; where they hold several graphs, with the graph's number."""
        count = len(self.task.graphs)
        return self.task.name + (f", graph {self.number} (of {count}, from 0)" if count > 1 else "")

    def node(self, text: str) -> int:
        """A node by its name in the data, else by its number; InputError if it is neither."""
        names, count = self.graph.node_ids, self.x.size(0)
        if names is not None and text in names:
            return names.index(text)
        if text.isdecimal() and int(text) < count:
            return int(text)
        raise InputError(
            f"node is {text!r}; expected a number in [0, {count})"
            + ("" if names is None else f", or a node's name, such as {names[0]!r}")
        )

    def example(self, readable: int = 30) -> int:
        """A node to show: of the test nodes (of all, if there are none) the one with most incoming
        edges of those whose two hops have up to ``readable`` edges, else the one with fewest there;
        the first of equals."""
        nodes = self.part("test")
        nodes = nodes if nodes.numel() else torch.arange(self.x.size(0))
        degree = self._incoming()
        source, target = self.edge_index
        between = source != target
        edges = degree.index_add(0, target[between], degree[source[between]])
        # Those that do not fit come after all that do, the fewest edges first.
        rank = torch.where(edges <= readable, degree, -edges)
        return int(nodes[rank[nodes].argmax()])

    def sample(self, part: str, count: int) -> Tensor:
        """Up to ``count`` of a part's nodes that have a neighbour, drawn by a fixed seed."""
        nodes = self.part(part)
        nodes = nodes[self._incoming()[nodes] > 0]
        order = torch.randperm(nodes.numel(), generator=torch.Generator().manual_seed(0))
        return nodes[order[:count]]

    @torch.no_grad()
    def entering(self, layer: str) -> Tensor:
        """The features that enter one of the model's layers, [N, F]."""
        seen: list[Tensor] = []
        module = self.model.get_submodule(layer)
        handle = module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        try:
            self.model(self.x, self.edge_index)
        finally:
            handle.remove()
        return seen[0]

    def _incoming(self) -> Tensor:
        """How many edges enter each node from others, int64 [N]."""
        source, target = self.edge_index
        return torch.bincount(target[source != target], minlength=self.x.size(0))

    def score(self, part: str = "test") -> float:
        """The task's metric of the model as it is now, over all graphs: the run's own number, or,
        inside an intervention, what it would be."""
        precision, metric = self.config.precision, self.task.metric
        found = evaluate_batches(self.model, self.batches, metric, (part,), precision)
        return found[part].metric


def open_run(run_dir: str | Path, graph: int | None = None) -> Any:
    """Open a run for inspection: an `OpenedRun`, of examples an `OpenedExamples`. graph: which of
    the task's graphs to look at, where there are several; by default the first with test nodes.

    Runs on the CPU. Raises InputError where there is no run, and for one whose edges have features,
    which nothing that looks into a run reads yet; CheckpointMismatchError where its data have
    changed, IndexRangeError for a graph the task has not.
    """
    path = Path(run_dir)
    result, session = evaluated(path)
    if isinstance(session, ExampleSession):
        return OpenedExamples.of(path, result, session)
    config, task = session.config, session.task
    if task.edge_dim is not None:
        raise InputError(
            f"{path}: the edges of {task.name} have features, without which its attention would be "
            "another one, and inspection does not read them; record it in Python: "
            "gat.inspection.record_attention(model) around model(x, edge_index, edge_attr)"
        )
    number = _chosen(task, graph, config.data.split)
    data = config.data.model_copy(update={"features": "dense"})
    batches = make_batches(task, data, torch.device("cpu"), labels=config.labels)
    assert result.model is not None
    model = result.model.cpu().eval()
    return OpenedRun(
        path,
        result,
        task,
        config,
        task.graphs[number],
        number,
        model,
        fed(model, batches[number]),
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
