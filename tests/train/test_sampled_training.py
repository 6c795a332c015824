"""Runs trained on sampled batches: learning, resuming, evaluating, and what is refused."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from gat.data import NodeTask, TaskGraph
from gat.errors import InputError
from gat.train import (
    Terminated,
    TrainConfig,
    checkpoint,
    evaluate,
    layerwise,
    open_run,
    train,
)

Kept = Callable[[Path], dict[str, Any]]
WAYS: dict[str, dict[str, Any]] = {
    "neighbor": {"name": "neighbor", "batch_size": 5, "num_neighbors": [3, 2]},
    "random-node": {"name": "random-node", "num_parts": 3},
    "random-walk": {"name": "random-walk", "roots": 6, "walk_length": 2, "steps": 3},
    "weighted walks": {"name": "random-walk", "roots": 6, "steps": 3, "coverage": 20},
    "cluster": {"name": "cluster", "num_parts": 6, "clusters_per_batch": 2},
}


def sampled(config: TrainConfig, way: str = "neighbor", **changes: Any) -> TrainConfig:
    if way == "cluster":
        pytest.importorskip("pymetis")
    values = config.to_dict()
    return TrainConfig(**{**values, **changes, "sampling": {**WAYS[way]}})


def planted(nodes: int = 300) -> NodeTask:
    """Three classes that edges respect mostly and features show dimly, 150/75/75 nodes."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(nodes) % 3
    source = torch.randint(0, nodes, (nodes * 30,), generator=generator)
    target = torch.randint(0, nodes, (nodes * 30,), generator=generator)
    kept = (y[source] == y[target]) | (torch.rand(nodes * 30, generator=generator) < 0.05)
    x = torch.randn(nodes, 8, generator=generator)
    x[torch.arange(nodes), y] += 1
    masks = torch.zeros(3, nodes, 1, dtype=torch.bool)
    for number, part in enumerate((slice(150), slice(150, 225), slice(225, 300))):
        masks[number, part] = True
    edges = torch.stack([source, target])[:, kept]
    return NodeTask("planted", (TaskGraph(edges, x, y, *masks),), 3)


@pytest.mark.parametrize("way", WAYS)
def test_sampled_training_learns(way: str, config: TrainConfig) -> None:
    """Features alone place about 60 % of the nodes, and their neighbours nearly all."""
    model = {"hidden_channels": 8, "heads": 2, "feature_dropout": 0.1, "attention_dropout": 0.1}
    changes = {"model": model, "epochs": 20, "optimizer": {"lr": 0.02}}
    config = sampled(config, way, **changes)
    if way == "neighbor":
        config = config.updated(**{"sampling.batch_size": 32, "sampling.num_neighbors": 5})
    assert train(config, task=planted()).test > 0.9


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("at", [2, 3, 7])
def test_resume_between_two_steps_of_an_epoch_is_exact(
    at: int,
    way: str,
    config: TrainConfig,
    toy: NodeTask,
    kept: Kept,
    tmp_path: Path,
    terminate_in_step: Callable[[int], None],
) -> None:
    """Three steps an epoch; the signal comes in step ``at`` of the run, dropout is on."""
    config = sampled(config, way, epochs=4)
    train(config, tmp_path / "whole", task=toy)
    terminate_in_step(at)
    with pytest.raises(Terminated):
        train(config, tmp_path / "cut", task=toy)
    position = checkpoint.load(tmp_path / "cut").meta["position"]
    assert position["epoch"] * 3 + position["step"] == at
    train(None, tmp_path / "cut", task=toy, resume=True)
    assert kept(tmp_path / "cut") == kept(tmp_path / "whole")
    one, two = (checkpoint.load(tmp_path / name).tensors for name in ("whole", "cut"))
    assert all(torch.equal(one[name], two[name]) for name in one | two)


def test_batches_made_ahead_change_no_bit(
    config: TrainConfig, toy: NodeTask, kept: Kept, tmp_path: Path
) -> None:
    for depth in (0, 1, 2):
        ahead = sampled(config).updated(**{"sampling.prefetch": depth})
        train(ahead, tmp_path / str(depth), task=toy)
    assert kept(tmp_path / "0") == kept(tmp_path / "1") == kept(tmp_path / "2")
    first, last = (checkpoint.load(tmp_path / name).tensors for name in ("0", "2"))
    assert all(torch.equal(first[name], last[name]) for name in first | last)


def test_no_thread_outlives_a_broken_run(config: TrainConfig, toy: NodeTask) -> None:
    def broken(_: Any) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        train(sampled(config), task=toy, on_epoch=broken)
    assert not [t for t in threading.enumerate() if t.name.startswith("gat-prefetch")]


def test_cadence_and_plateau(config: TrainConfig, toy: NodeTask) -> None:
    """Six evaluations, of which the loss improves on none: the rate trains next to nothing."""
    records: list[Any] = []
    schedule = {"name": "plateau", "patience": 1, "factor": 0.5, "monitor": "loss"}
    changes = {"evaluate_every": 2, "schedule": schedule, "optimizer": {"lr": 1e-6}}
    train(sampled(config, **changes), task=toy, on_epoch=records.append)
    assert [record.epoch for record in records] == [2, 4, 6, 8, 10, 12]
    halvings = [record.lr / 1e-6 for record in records]
    assert halvings == pytest.approx([1, 1, 0.5, 0.5, 0.25, 0.25])


def test_one_pass_over_the_layers_scores_all_parts(
    config: TrainConfig, toy: NodeTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[int] = []
    real = layerwise._Layers.outputs

    def counted(self: Any, *args: Any) -> Any:
        runs.append(1)
        return real(self, *args)

    monkeypatch.setattr(layerwise._Layers, "outputs", counted)
    limit = {"sampling.inference_batch_size": 9}
    train(sampled(config).updated(epochs=3, **limit), task=toy)
    # After each of three epochs, and for the three parts at the end.
    assert len(runs) == 4


@pytest.mark.parametrize("way", WAYS)
def test_layerwise_scores_are_those_of_the_whole_graph(
    way: str, config: TrainConfig, toy: NodeTask, tmp_path: Path
) -> None:
    config = sampled(config, way, epochs=3)
    first = train(config.updated(**{"sampling.inference_batch_size": 9}), task=toy)
    second = train(config.updated(**{"sampling.evaluation": "full"}), tmp_path, task=toy)
    assert first.to_dict() | {"seconds": 0} == second.to_dict() | {"seconds": 0}
    assert evaluate(tmp_path, task=toy).test == second.test


def test_several_graphs(config: TrainConfig, toy_graphs: NodeTask, tmp_path: Path) -> None:
    config = sampled(config, epochs=4).updated(**{"sampling.batch_size": 30})
    result = train(config, tmp_path, task=toy_graphs)
    assert evaluate(tmp_path, task=toy_graphs) == result
    assert result.test > 0


def test_sampled_run_is_opened(config: TrainConfig, tmp_path: Path) -> None:
    config = sampled(config, epochs=2, data={"name": "karate", "normalize_features": "row"})
    result = train(config.updated(**{"sampling.inference_batch_size": 9}), tmp_path)
    run = open_run(tmp_path)
    assert run.score("test") == pytest.approx(result.test)
    with torch.no_grad():
        assert run.model(run.x, run.edge_index).shape == (34, run.task.num_classes)


def test_bfloat16_and_small_batches(config: TrainConfig, toy: NodeTask) -> None:
    config = sampled(config, epochs=2, precision="bfloat16")
    for size in (1, 10_000):
        changed = config.updated(
            **{"sampling.batch_size": size, "sampling.inference_batch_size": 3}
        )
        assert 0 <= train(changed, task=toy).val <= 1


def test_subgraphs_without_training_nodes_are_passed_over(
    config: TrainConfig, toy: NodeTask
) -> None:
    """40 parts of one node each, of which 12 are training nodes; then walks that meet none."""
    parts = {"name": "random-node", "num_parts": 40}
    config = TrainConfig(**{**config.to_dict(), "epochs": 2, "sampling": parts})
    assert train(config, task=toy).epochs == 2
    graph = toy.graphs[0]
    graph.train_mask[1:12] = False
    walks = {"name": "random-walk", "roots": 1, "walk_length": 1, "steps": 1}
    with pytest.raises(InputError, match=r"no batch of epoch 1 had a training node; take more or"):
        train(TrainConfig(**{**config.to_dict(), "sampling": walks}), task=toy)


def test_more_parts_than_nodes_are_refused_before_the_run_begins(
    config: TrainConfig, toy: NodeTask, tmp_path: Path
) -> None:
    parts = {"name": "random-node", "num_parts": 41}
    with pytest.raises(InputError, match="num_parts is 41; expected between 1 and 40"):
        train(TrainConfig(**{**config.to_dict(), "sampling": parts}), tmp_path, task=toy)
    assert not checkpoint.exists(tmp_path)


def test_a_run_may_be_resumed_with_more_or_less_made_ahead(
    config: TrainConfig, toy: NodeTask, tmp_path: Path
) -> None:
    config = sampled(config, epochs=2)
    first = train(config, tmp_path, task=toy)
    again = config.updated(**{"sampling.prefetch": 0})
    assert train(again, tmp_path, task=toy, resume=True).test == first.test
