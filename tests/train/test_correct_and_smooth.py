"""Correct and Smooth against its definition, and the numbers that are reported."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gat.cli.train import show_result
from gat.data import NodeTask, card
from gat.errors import ConfigError, InputError
from gat.train import TrainConfig, evaluate, metrics, train
from gat.train.batches import Batch, Part, make_batches
from gat.train.config import DataConfig
from gat.train.correct_and_smooth import correct_and_smooth
from gat.train.reproducing import run_one
from gat.train.results import SeedResult
from gat.train.scores import part_scores, reported_metric
from gat.train.tricks_config import CorrectAndSmoothConfig

CPU = torch.device("cpu")


def options(**changes: Any) -> CorrectAndSmoothConfig:
    return CorrectAndSmoothConfig(enabled=True, **changes)


def by_hand(config: CorrectAndSmoothConfig, batch: Batch, soft: Tensor, true: Tensor) -> Tensor:
    """Huang et al. 2021 in dense matrices of float64; true: [R, K] of the training rows."""
    size, rows = len(soft), batch.parts["train"].rows
    source, target = batch.edges.edge_index
    dense = torch.zeros(size, size, dtype=torch.float64)
    for j, i in zip(source.tolist(), target.tolist(), strict=True):
        if j != i or not config.add_self_loops:
            dense[i, j] += 1
    if config.add_self_loops:
        dense += torch.eye(size)
    root = dense.sum(1).clamp(min=1e-300).rsqrt() * (dense.sum(1) > 0)
    spread = root[:, None] * dense * root
    z, y = soft.double(), true.double()
    if config.correction_layers:
        start = torch.zeros_like(z)
        start[rows] = y - z[rows]
        error = start
        for _ in range(config.correction_layers):
            a = config.correction_alpha
            error = (1 - a) * start + a * spread @ error
            if config.scale is None:
                error = error.clamp(-1, 1)
            else:
                error[rows] = start[rows]
        if config.scale is None:
            factor = start.abs().sum() / len(y) / error.abs().sum(1, keepdim=True)
            factor[factor.isinf() | (factor > 1000)] = 1
        else:
            factor = torch.tensor(config.scale)
        z = z + factor * error
    if config.smoothing_layers:
        start = z.clone()
        start[rows] = y
        z = start
        for _ in range(config.smoothing_layers):
            a = config.smoothing_alpha
            z = ((1 - a) * start + a * spread @ z).clamp(0, 1)
    return z


SETTINGS: dict[str, dict[str, Any]] = {
    "both": {"correction_layers": 5, "smoothing_layers": 4},
    "fixed scale": {"correction_layers": 5, "smoothing_layers": 3, "scale": 1.7},
    "smooth alone": {"correction_layers": 0, "smoothing_layers": 10, "smoothing_alpha": 0.6},
    "correct alone": {"correction_layers": 3, "smoothing_layers": 0},
    "no loops": {"correction_layers": 4, "smoothing_layers": 4, "add_self_loops": False},
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS.keys())
def test_correct_and_smooth_is_its_definition(setting: dict[str, Any], toy: NodeTask) -> None:
    (batch,) = make_batches(toy, DataConfig(undirected=True), CPU)
    logits = torch.randn(40, 2, generator=torch.Generator().manual_seed(0))
    true = torch.nn.functional.one_hot(toy.graphs[0].y[:12], 2)
    found = correct_and_smooth(options(**setting), batch, logits)
    expected = by_hand(options(**setting), batch, logits.softmax(1), true)
    assert found.dtype == torch.float32
    assert torch.allclose(found.double(), expected, atol=1e-5)


def test_several_labels_stay_on_their_side_of_0(toy: NodeTask) -> None:
    """Unknown labels count as predicted; scores above 0 are labels predicted."""
    generator = torch.Generator().manual_seed(2)
    y = (torch.rand(12, 3, generator=generator) > 0.5).float()
    y[4, 1] = torch.nan
    logits = torch.randn(40, 3, generator=generator)
    (batch,) = make_batches(toy, DataConfig(), CPU)
    batch = replace(batch, parts={"train": Part(torch.arange(12), y)})
    soft = logits.sigmoid()
    true = torch.where(y.isnan(), soft[:12], y)
    config = options(correction_layers=2, smoothing_layers=2)
    found = correct_and_smooth(config, batch, logits, multilabel=True)
    assert torch.allclose(found.double(), by_hand(config, batch, soft, true) - 0.5, atol=1e-5)


@pytest.mark.parametrize("edges", [0, 1], ids=["no edges", "one edge"])
def test_graphs_with_hardly_an_edge(edges: int) -> None:
    from gat.graph import Graph

    graph = Graph.from_edge_index(torch.tensor([[0], [1]])[:, :edges], 3)
    batch = Batch(torch.zeros(3, 1), graph, {"train": Part(torch.tensor([0]), torch.tensor([1]))})
    logits = torch.tensor([[2.0, 0.0], [2.0, 0.0], [2.0, 0.0]])
    for loops in (True, False):
        found = correct_and_smooth(options(add_self_loops=loops), batch, logits)
        assert found.isfinite().all()
    assert correct_and_smooth(options(), batch, logits)[0].argmax() == 1


def test_predictions_without_any_error_stay_finite(toy: NodeTask) -> None:
    (batch,) = make_batches(toy, DataConfig(), CPU)
    logits = 1000.0 * torch.nn.functional.one_hot(toy.graphs[0].y, 2)
    found = correct_and_smooth(options(), batch, logits)
    assert torch.equal(found.argmax(1), toy.graphs[0].y)


@pytest.fixture
def smoothing(config: TrainConfig) -> TrainConfig:
    return config.updated(**{"correct_and_smooth.enabled": True, "stopping.name": "none"})


def test_result_has_the_scores_without_and_with(
    smoothing: TrainConfig, toy: NodeTask, tmp_path: Path
) -> None:
    result = train(smoothing, tmp_path, task=toy)
    plain = train(smoothing.updated(**{"correct_and_smooth.enabled": False}), task=toy)
    assert (result.train, result.val, result.test) == (plain.train, plain.val, plain.test)
    assert plain.smoothed == {}
    assert plain.reported == {"train": plain.train, "val": plain.val, "test": plain.test}
    assert result.model is not None
    (batch,) = make_batches(toy, smoothing.data, CPU)
    logits = result.model(batch.x, batch.edges).detach()
    scores = correct_and_smooth(smoothing.correct_and_smooth, batch, logits)
    expected = part_scores(toy, [batch], [scores])
    assert result.smoothed == result.reported == expected
    assert result.to_dict()["smoothed"] == expected
    assert evaluate(tmp_path, task=toy) == result


def test_experiments_keep_both_and_compare_the_smoothed(
    smoothing: TrainConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = smoothing.updated(epochs=1, **{"data.name": "digits"})
    result = run_one(("digits/smoothed", config, None, False))
    run = train(config)
    assert (result.train, result.val, result.test) == tuple(run.smoothed.values())
    assert result.unsmoothed == {"train": run.train, "val": run.val, "test": run.test}
    assert SeedResult.load(result.write(tmp_path)) == result
    assert result.stands_for(config, result.versions)
    show_result("this run", run)
    (row,) = [line for line in capsys.readouterr().out.splitlines() if "Smooth" in line]
    assert f"{100 * run.smoothed['test']:.2f}" in row


def test_labels_of_validation_and_test_never_enter(smoothing: TrainConfig, toy: NodeTask) -> None:
    logits = torch.randn(40, 2, generator=torch.Generator().manual_seed(4))
    y = toy.graphs[0].y.clone()
    y[12:] = 1 - y[12:]
    perturbed = replace(toy, graphs=(replace(toy.graphs[0], y=y),))
    one, two = (
        correct_and_smooth(smoothing.correct_and_smooth, *make_batches(task, DataConfig(), CPU), x)
        for task, x in ((toy, logits), (perturbed, logits))
    )
    assert torch.equal(one, two)
    # Of two classes, every answer that was right is wrong with the other labels.
    before, after = train(smoothing, task=toy), train(smoothing, task=perturbed)
    for part in ("val", "test"):
        assert before.smoothed[part] == pytest.approx(1 - after.smoothed[part])


def test_several_graphs_are_refused_before_training(
    smoothing: TrainConfig, toy_graphs: NodeTask
) -> None:
    with pytest.raises(InputError, match=r"toys is several graphs.*enabled = false"):
        train(smoothing, task=toy_graphs)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"correct_and_smooth.correction_layers": 0, "correct_and_smooth.smoothing_layers": 0},
            "correction_layers and smoothing_layers are both 0",
        ),
        ({"data.allow_overlap": True}, r"correct_and_smooth\.enabled would show a node"),
        ({"correct_and_smooth.smoothing_alpha": 1.5}, "less than or equal to 1"),
    ],
    ids=["nothing to do", "overlap", "alpha"],
)
def test_what_cannot_be_is_refused(
    smoothing: TrainConfig, changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        smoothing.updated(**changes)


@pytest.mark.parametrize("name", ["ogbn-arxiv", "ogbn-proteins"])
def test_reported_numbers_are_those_of_ogbs_evaluator(
    name: str, toy: NodeTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluators = pytest.importorskip("ogb.nodeproppred")
    generator = torch.Generator().manual_seed(6)
    many = name == "ogbn-proteins"
    logits = torch.randn(60, 112 if many else 40, generator=generator)
    y = torch.randint(0, 2 if many else 40, (60, 112) if many else (60,), generator=generator)
    y = y.float() if many else torch.where(torch.rand(60) < 0.5, logits.argmax(1), y)
    task = replace(toy, card=card(name), metric="roc-auc" if many else "accuracy")
    predicted = logits if many else logits.argmax(1, keepdim=True)
    truth = y if many else y[:, None]
    evaluator = evaluators.Evaluator(name)
    expected = float(evaluator.eval({"y_true": truth, "y_pred": predicted})[evaluator.eval_metric])
    assert reported_metric(task, logits, y) == expected
    assert metrics.metric(task.metric, logits, y) == pytest.approx(expected, abs=1e-12)
    asked = []
    real = evaluators.Evaluator.eval
    monkeypatch.setattr(
        evaluators.Evaluator, "eval", lambda *args: asked.append(args) or real(*args)
    )
    assert reported_metric(task, logits, y) == expected
    assert len(asked) == 1
    assert reported_metric(replace(task, card=None), logits, y) == pytest.approx(expected)
    assert len(asked) == 1


def test_a_part_without_rows_has_no_score(toy: NodeTask) -> None:
    (batch,) = make_batches(toy, DataConfig(), CPU)
    parts = {name: part for name, part in batch.parts.items() if name != "val"}
    found = part_scores(toy, [replace(batch, parts=parts)], [torch.zeros(40, 2)])
    assert np.isnan(found["val"])
    assert found["train"] == float((toy.graphs[0].y[:12] == 0).float().mean())
