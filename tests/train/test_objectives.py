"""The loss log-eps, the divergence from a teacher, and what a step minimises."""

import math

import pytest
import torch
from torch import Tensor

from gat.data import NodeTask
from gat.train import TrainConfig, metrics, train
from gat.train.batches import Batch, Part
from gat.train.objectives import Objective, divergence
from gat.train.session import Session
from gat.train.tricks_config import DistillationConfig

EPSILON = 1 - math.log(2)


def robust(z: float) -> float:
    return math.log(EPSILON + z) - math.log(EPSILON)


def test_log_eps_is_the_mean_over_nodes_of_the_robust_cross_entropy() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(7, 5, generator=generator, dtype=torch.float64)
    y = torch.tensor([0, 4, -1, 2, 2, 1, -1])
    each = [
        robust(-math.log(math.exp(row[k]) / sum(map(math.exp, row))))
        for row, k in zip(logits.tolist(), y.tolist(), strict=True)
        if k >= 0
    ]
    assert float(metrics.loss(logits, y, name="log-eps")) == pytest.approx(sum(each) / 5)


def test_log_eps_of_several_labels_is_the_mean_over_known_labels() -> None:
    logits = torch.tensor([[0.0, 2.0], [-1.0, 30.0]], dtype=torch.float64)
    y = torch.tensor([[1.0, torch.nan], [1.0, 0.0]])
    each = [robust(math.log(2)), robust(math.log1p(math.e)), robust(30.0)]
    assert float(metrics.loss(logits, y, name="log-eps")) == pytest.approx(sum(each) / 3)


def test_log_eps_has_slope_1_at_an_even_guess_and_pulls_less_on_outliers() -> None:
    logits = torch.tensor([[0.0, 0.0], [0.0, 9.0]], requires_grad=True)
    y = torch.tensor([0, 0])
    (plain,) = torch.autograd.grad(metrics.loss(logits, y), logits)
    (ours,) = torch.autograd.grad(metrics.loss(logits, y, name="log-eps"), logits)
    assert torch.allclose(ours[0], plain[0])
    assert ours[1].norm() < 0.2 * plain[1].norm()


@pytest.mark.parametrize("y", [torch.empty(0, dtype=torch.int64), torch.empty(0, 2)])
def test_log_eps_of_nothing_is_nan(y: Tensor) -> None:
    assert metrics.loss(torch.zeros(0, 2), y, name="log-eps").isnan()


def test_log_eps_is_smoothed_before_the_logarithm() -> None:
    logits, y = torch.tensor([[1.0, 0.0, 0.0]]), torch.tensor([0])
    smooth = float(metrics.loss(logits, y, 0.3))
    assert float(metrics.loss(logits, y, 0.3, "log-eps")) == pytest.approx(robust(smooth))


@pytest.mark.parametrize("temperature", [0.7, 1.0, 4.0])
def test_divergence_is_kullback_leibler(temperature: float) -> None:
    generator = torch.Generator().manual_seed(1)
    student, teacher = 2 * torch.randn(2, 6, 4, generator=generator, dtype=torch.float64)
    p, q = (teacher / temperature).softmax(1), (student / temperature).softmax(1)
    exact = (p * (p / q).log()).sum(dim=1).mean()
    found = divergence(student, teacher, temperature, "nodes")
    assert torch.allclose(found.double(), exact, rtol=1e-5)
    assert torch.allclose(divergence(student, teacher, temperature) * 4, found)


def test_divergence_of_several_labels_is_of_each_ones_two_values() -> None:
    student, teacher = torch.tensor([[0.3, -2.0]]), torch.tensor([[1.0, 40.0]])
    p, q = (teacher.double() / 2).sigmoid(), (student.double() / 2).sigmoid()
    each = torch.xlogy(p, p / q) + torch.xlogy(1 - p, (1 - p) / (1 - q))
    found = divergence(student, teacher, 2.0, "nodes", multilabel=True)
    assert float(found) == pytest.approx(float(each.sum()), rel=1e-5)


@pytest.mark.parametrize("many", [False, True], ids=["classes", "labels"])
def test_divergence_from_itself_is_0_and_survives_certainty(many: bool) -> None:
    logits = torch.tensor([[300.0, -300.0], [0.1, 0.2]], requires_grad=True)
    found = divergence(logits, logits.detach(), 0.7, multilabel=many)
    assert float(found.detach()) == pytest.approx(0, abs=1e-7)
    (slope,) = torch.autograd.grad(found, logits)
    assert torch.allclose(slope, torch.zeros(2, 2), atol=1e-7)


def test_a_student_learns_from_all_rows_and_weighs_both_losses() -> None:
    outputs = torch.tensor([[1.0, 0.0], [0.0, 2.0], [0.5, 0.5]])
    teacher = torch.tensor([[0.0, 1.0], [0.0, 2.0], [3.0, 0.0], [9.0, 9.0]])
    part = Part(torch.tensor([0]), torch.tensor([1]))
    batch = Batch(torch.zeros(4, 1), None, {"train": part}, teacher=teacher)
    options = DistillationConfig(enabled=True, alpha=0.8, temperature=0.5)
    found = Objective("log-eps", 0.0, options)(outputs, batch)
    labels = metrics.loss(outputs[:1], part.y, name="log-eps")
    # Rows of output are the first of x.
    soft = divergence(outputs, teacher[:3], 0.5)
    assert float(found) == pytest.approx(0.2 * float(labels) + 0.8 * 0.25 * float(soft))


def test_evaluation_has_the_loss_of_training_without_smoothing(
    toy: NodeTask, config: TrainConfig
) -> None:
    changed = config.updated(loss="log-eps", label_smoothing=0.2)
    session = Session(changed, toy, torch.device("cpu"))
    (logits,) = session.predictions()
    part = session.batches[0].parts["val"]
    expected = metrics.loss(part.select(logits), part.y, name="log-eps")
    assert session.evaluate("val")["val"].loss == float(expected)


def test_log_eps_trains(toy: NodeTask, config: TrainConfig) -> None:
    records: list[float] = []
    rates = {"feature_dropout": 0.0, "attention_dropout": 0.0, "value_dropout": 0.0}
    config = config.updated(loss="log-eps", **{f"model.{k}": v for k, v in rates.items()})
    train(config, task=toy, on_epoch=lambda record: records.append(record.train_loss))
    assert records[-1] < records[0]
