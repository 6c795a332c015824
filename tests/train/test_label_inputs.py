"""Training labels as inputs, predictions in their place; other labels never get there."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from gat.data import NodeTask
from gat.errors import ConfigError
from gat.graph import Graph
from gat.train import TrainConfig, checkpoint, evaluate, open_run, train
from gat.train.batches import Batch, Part, join, make_batches
from gat.train.config import DataConfig
from gat.train.label_inputs import hide_labels, step_seed
from gat.train.session import Session
from gat.train.step import fed, forward, predict_batches
from gat.train.tricks_config import LabelsConfig

CPU = torch.device("cpu")
Kept = Callable[[Path], dict[str, Any]]


@pytest.fixture
def labelled(config: TrainConfig) -> TrainConfig:
    """Half the training labels as inputs; the last weights, so that no choice depends on val."""
    return config.updated(**{"labels.inputs": True, "stopping.name": "none"})


def batch_of(task: NodeTask, reuse: int = 0) -> Batch:
    return make_batches(task, DataConfig(), CPU, labels=LabelsConfig(inputs=True, reuse=reuse))[0]


def test_evaluation_is_given_all_training_labels_and_no_other(toy: NodeTask) -> None:
    toy.graphs[0].y[3] = -1
    batch = batch_of(toy)
    x, y = toy.graphs[0].x, toy.graphs[0].y
    expected = torch.zeros(40, 2)
    for node in set(range(12)) - {3}:
        expected[node, y[node]] = 1
    assert torch.equal(batch.x, torch.cat([x, expected], dim=1))
    assert batch.labels is not None
    assert batch.labels.given.nonzero().flatten().tolist() == [0, 1, 2, *range(4, 12)]


def test_several_labels_are_given_as_they_are_and_unknown_ones_as_0(toy_graphs: NodeTask) -> None:
    toy_graphs.graphs[0].y[2, 1] = torch.nan
    labels = LabelsConfig(inputs=True)
    batches = make_batches(toy_graphs, DataConfig(), CPU, labels=labels)
    assert torch.equal(batches[0].x[:, 6:], toy_graphs.graphs[0].y.nan_to_num())
    # Graphs of validation and test have no training nodes.
    assert not batches[5].x[:, 6:].any()
    assert not batches[6].x[:, 6:].any()


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.7])
def test_a_step_hides_every_label_its_loss_is_on(toy: NodeTask, rate: float) -> None:
    batch = batch_of(toy)
    assert batch.labels is not None
    shares = []
    for seed in range(200):
        step = hide_labels(batch, rate, seed)
        part = step.parts["train"]
        assert part.rows is not None
        assert step.labels is not None
        inputs = step.labels.given.nonzero().flatten()
        assert sorted([*part.rows.tolist(), *inputs.tolist()]) == list(range(12))
        assert not step.x[part.rows, 6:].any()
        assert torch.equal(step.x[inputs], batch.x[inputs])
        assert torch.equal(part.y, toy.graphs[0].y[part.rows])
        assert torch.equal(step.x[:, :6], batch.x[:, :6])
        assert set(step.parts) == {"train", "val", "test"}
        shares.append(len(inputs) / 12)
    assert sum(shares) / 200 == pytest.approx(rate, abs=0.04)


def test_a_draw_that_would_leave_no_loss_gives_no_label(toy: NodeTask) -> None:
    graph = toy.graphs[0]
    graph.train_mask[1:] = False
    batch = batch_of(toy)
    for seed in range(5):
        step = hide_labels(batch, 0.999, seed)
        assert not step.x[:, 6:].any()
        assert step.parts["train"].y.tolist() == graph.y[:1].tolist()


def test_masks_are_functions_of_seed_epoch_and_step() -> None:
    seeds = [step_seed(s, e, k) for s in range(4) for e in range(4) for k in range(4)]
    assert len(set(seeds)) == 64
    assert step_seed(2**63 - 1, 10**6, 10**6) == step_seed(2**63 - 1, 10**6, 10**6) < 2**63


def test_joined_graphs_know_their_labels(toy_graphs: NodeTask) -> None:
    labels = LabelsConfig(inputs=True)
    batches = make_batches(toy_graphs, DataConfig(), CPU, labels=labels)
    step = hide_labels(join(batches[1:3]), 0.5, 3)
    part = step.parts["train"]
    assert part.rows is not None
    y = torch.cat([graph.y for graph in toy_graphs.graphs[1:3]])
    assert torch.equal(part.y, y[part.rows])
    hidden = torch.zeros(len(y), dtype=torch.bool).index_fill(0, part.rows, True)
    assert 0 < int(hidden.sum()) < len(y)
    assert torch.equal(step.x[:, 6:], y * ~hidden[:, None])


@pytest.mark.parametrize("all_outputs", [True, False], ids=["rows None", "rows"])
def test_seeds_of_a_sampled_batch_are_never_given(toy: NodeTask, all_outputs: bool) -> None:
    """Three seeds (training nodes), then training, validation and test nodes around them."""
    whole = batch_of(toy)
    nodes = torch.tensor([7, 2, 11, 0, 1, 3, 4, 20, 35])
    rows = None if all_outputs else torch.arange(3)
    graphs = [Graph.from_edge_index(torch.tensor([[5, 4], [0, 2]]), (9, 3))]
    part = Part(rows, toy.graphs[0].y[nodes[:3]])
    sampled = Batch(whole.x[nodes], graphs, {"train": part}, nodes=nodes).within(whole)
    given = set()
    for seed in range(60):
        step = hide_labels(sampled, 0.5, seed)
        assert torch.equal(step.parts["train"].y, part.y)
        assert not step.x[:3, 6:].any()
        assert not step.x[7:, 6:].any()
        shown = step.x[3:7, 6:].any(dim=1)
        assert torch.equal(step.x[3:7][shown], whole.x[nodes[3:7]][shown])
        given.add(tuple(shown.tolist()))
    assert len(given) == 16


def test_a_part_of_the_graph_that_predicts_all_its_nodes_is_masked_as_the_whole(
    toy: NodeTask,
) -> None:
    whole = batch_of(toy)
    nodes = torch.tensor([30, 5, 9, 1, 15])
    part = Part(torch.tensor([1, 2, 3]), toy.graphs[0].y[[5, 9, 1]])
    graph = Graph.from_edge_index(torch.empty(2, 0, dtype=torch.int64), 5)
    batch = Batch(whole.x[nodes], graph, {"train": part}, nodes=nodes).within(whole)
    sizes = {len(hide_labels(batch, 0.5, seed).parts["train"].y) for seed in range(60)}
    assert sizes == {1, 2, 3}


@pytest.mark.parametrize("reuse", [1, 3])
def test_reuse_feeds_predictions_back_for_all_others(
    toy: NodeTask, labelled: TrainConfig, reuse: int
) -> None:
    session = Session(labelled.updated(**{"labels.reuse": reuse}), toy, CPU)
    model, (batch,) = session.model.eval(), session.batches
    x = batch.x.clone()
    for _ in range(reuse):
        x[12:, 6:] = model(x, batch.edges).softmax(dim=1)[12:].detach()
    assert torch.equal(fed(model, batch), x)
    assert torch.equal(forward(model, batch), model(x, batch.edges))


def test_reuse_lets_no_gradient_into_the_passes_before(
    toy: NodeTask, labelled: TrainConfig
) -> None:
    config = labelled.updated(
        **{"model.feature_dropout": 0.0, "model.attention_dropout": 0.0, "model.value_dropout": 0.0}
    )
    model = Session(config, toy, CPU).model
    batch = hide_labels(batch_of(toy, reuse=2), 0.5, 1)

    def gradients(each: Batch) -> list[Tensor]:
        loss = forward(model, each).square().sum()
        return list(torch.autograd.grad(loss, list(model.parameters())))

    labels = batch.labels
    assert labels is not None
    last = replace(batch, x=fed(model, batch), labels=replace(labels, reuse=0))
    for ours, theirs in zip(gradients(batch), gradients(last), strict=True):
        assert torch.equal(ours, theirs)


def test_reuse_with_several_labels_feeds_each_ones_probability(toy_graphs: NodeTask) -> None:
    labels = LabelsConfig(inputs=True, reuse=1)
    batch = make_batches(toy_graphs, DataConfig(), CPU, labels=labels)[5]
    model = Session(TrainConfig(labels={"inputs": True}, device="cpu"), toy_graphs, CPU).model
    expected = model.eval()(batch.x, batch.edges).sigmoid()
    assert torch.equal(fed(model, batch)[:, 6:], expected)


def test_reuse_of_a_batch_that_predicts_only_its_seeds_is_refused(toy: NodeTask) -> None:
    labels = batch_of(toy, reuse=1).labels
    assert labels is not None
    with pytest.raises(ConfigError, match=r"batch of 40 nodes predicts 3; set labels\.reuse = 0"):
        labels.fed_back(torch.zeros(40, 8), torch.zeros(3, 2))


@pytest.mark.parametrize("reuse", [0, 2])
@pytest.mark.parametrize("kind", ["one graph", "several graphs"])
def test_labels_of_validation_and_test_never_enter(
    kind: str, reuse: int, labelled: TrainConfig, toy: NodeTask, toy_graphs: NodeTask
) -> None:
    """Perturbed, they change no bit of the weights and no bit of any prediction."""
    task = toy if kind == "one graph" else toy_graphs
    config = labelled.updated(**{"labels.reuse": reuse, "model.norm": "batch"})

    def outcome(task: NodeTask) -> list[Tensor]:
        model = train(config, task=task).model
        assert model is not None
        batches = make_batches(task, config.data, CPU, labels=config.labels)
        return [*model.state_dict().values(), *predict_batches(model, batches)]

    graphs = []
    for graph in task.graphs:
        others = ~graph.train_mask[:, 0]
        flipped = (1 - graph.y) if graph.y.dim() == 1 else 1.0 - graph.y
        chosen = others if graph.y.dim() == 1 else others[:, None]
        graphs.append(replace(graph, y=torch.where(chosen, flipped, graph.y)))
    perturbed = replace(task, graphs=tuple(graphs))
    before, after = outcome(task), outcome(perturbed)
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    # A training label does enter.
    graph = task.graphs[0]
    y = graph.y.clone()
    y[0] = 1 - y[0]
    other = replace(task, graphs=(replace(graph, y=y), *task.graphs[1:]))
    assert not all(torch.equal(a, b) for a, b in zip(before, outcome(other), strict=True))


@pytest.mark.parametrize("kind", ["one graph", "several graphs"])
def test_resume_with_label_inputs_is_exact(
    kind: str,
    labelled: TrainConfig,
    toy: NodeTask,
    toy_graphs: NodeTask,
    kept: Kept,
    tmp_path: Path,
) -> None:
    task = toy if kind == "one graph" else toy_graphs
    config = labelled.updated(**{"labels.reuse": 1, "loss": "log-eps"})
    train(config, tmp_path / "whole", task=task)
    train(config.updated(epochs=5), tmp_path / "cut", task=task)
    train(config, tmp_path / "cut", task=task, resume=True)
    assert kept(tmp_path / "cut") == kept(tmp_path / "whole")
    whole, cut = checkpoint.load(tmp_path / "whole"), checkpoint.load(tmp_path / "cut")
    assert all(torch.equal(whole.tensors[k], cut.tensors[k]) for k in whole.tensors)


def test_an_opened_run_is_fed_what_it_was_evaluated_on(
    labelled: TrainConfig, tmp_path: Path
) -> None:
    config = labelled.updated(**{"data.name": "digits", "labels.reuse": 2, "epochs": 1})
    result = train(config, tmp_path)
    run = open_run(tmp_path)
    assert run.x.shape[1] == run.graph.x.shape[1] + run.task.num_classes
    (expected,) = predict_batches(run.model, run.batches)
    with torch.no_grad():
        assert torch.equal(run.model(run.x, run.edge_index), expected)
    assert run.score() == pytest.approx(result.test)
    assert evaluate(tmp_path) == result


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"labels.reuse": 1}, r"labels: reuse = 1 feeds predictions back.*set inputs = true"),
        (
            {"labels.inputs": True, "data.features": "sparse"},
            r'labels\.inputs joins labels to dense features; set data\.features to "auto"',
        ),
        (
            {"labels.inputs": True, "data.allow_overlap": True},
            r"labels\.inputs would show a node .*set data\.allow_overlap = false",
        ),
        ({"labels.inputs": True, "labels.rate": 1.0}, r"labels\.rate: expected less than 1"),
    ],
    ids=["reuse alone", "sparse", "overlap", "rate 1"],
)
def test_label_inputs_that_cannot_be_are_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        TrainConfig().updated(**changes)


def test_mostly_zero_features_are_dense_beside_labels(toy: NodeTask) -> None:
    toy.graphs[0].x[:, 1:] = 0
    toy.graphs[0].x[5:] = 0
    assert batch_of(toy).x.layout is torch.strided


def test_weights_of_the_rows_left_stand_for_all(toy: NodeTask) -> None:
    """The weighted loss is a sum, of which a step has some terms."""
    whole = batch_of(toy)
    part = Part(torch.arange(12), toy.graphs[0].y[:12], torch.full((12,), 1 / 12))
    batch = replace(whole, parts={"train": part})
    for seed in range(20):
        hidden = hide_labels(batch, 0.5, seed).parts["train"].weight
        assert hidden is not None
        assert float(hidden.sum()) == pytest.approx(1)
