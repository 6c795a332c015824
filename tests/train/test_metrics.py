"""Metrics beside scikit-learn's, losses beside their definitions, unlabelled rows left out."""

import math

import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score
from torch.nn import functional as F

from gat.errors import InputError
from gat.train import metrics


@pytest.mark.parametrize("rows", [1, 2, 7, 101])
@pytest.mark.parametrize("name", ["accuracy", "micro-f1"])
def test_single_label_metric_equals_sklearn(name: str, rows: int) -> None:
    logits, y = torch.randn(rows, 5), torch.randint(0, 5, (rows,))
    found = metrics.metric(name, logits, y)
    predicted = logits.argmax(1).numpy()
    assert found == accuracy_score(y.numpy(), predicted)
    assert found == pytest.approx(f1_score(y.numpy(), predicted, average="micro"), abs=1e-15)


@pytest.mark.parametrize("rows", [2, 7, 101])
def test_multilabel_micro_f1_equals_sklearn(rows: int) -> None:
    logits, y = torch.randn(rows, 5), torch.randint(0, 2, (rows, 5)).float()
    expected = f1_score(y.numpy(), (logits > 0).numpy(), average="micro")
    assert metrics.metric("micro-f1", logits, y) == pytest.approx(expected, abs=1e-15)


def test_roc_auc_equals_sklearn_for_two_classes() -> None:
    logits, y = torch.randn(50, 2), torch.randint(0, 2, (50,))
    expected = roc_auc_score(y.numpy(), logits.softmax(1)[:, 1].numpy())
    assert metrics.metric("roc-auc", logits, y) == pytest.approx(expected, abs=1e-12)


def test_roc_auc_is_the_mean_over_labels_that_have_both_values() -> None:
    logits, y = torch.randn(50, 3), torch.randint(0, 2, (50, 3)).float()
    y[:, 1] = 1
    each = [roc_auc_score(y[:, k].numpy(), logits[:, k].numpy()) for k in (0, 2)]
    assert metrics.metric("roc-auc", logits, y) == pytest.approx(sum(each) / 2, abs=1e-12)


@pytest.mark.parametrize("name", ["accuracy", "micro-f1", "roc-auc"])
@pytest.mark.parametrize("kind", ["single", "multi"])
def test_unlabelled_rows_change_nothing(name: str, kind: str) -> None:
    logits = torch.randn(40, 2)
    y = torch.randint(0, 2, (40,)) if kind == "single" else torch.randint(0, 2, (40, 2)).float()
    known = torch.arange(40) % 3 != 0
    hidden = y.clone()
    hidden[~known] = -1 if kind == "single" else torch.nan
    expected = metrics.metric(name, logits[known], y[known])
    assert metrics.metric(name, logits, hidden) == pytest.approx(expected, abs=1e-12)
    loss = metrics.loss(logits, hidden, 0.1)
    assert torch.allclose(loss, metrics.loss(logits[known], y[known], 0.1))


def test_metric_without_labels_is_nan() -> None:
    for name in ("accuracy", "micro-f1", "roc-auc"):
        assert math.isnan(metrics.metric(name, torch.randn(3, 2), torch.full((3,), -1)))
        assert math.isnan(metrics.metric(name, torch.randn(3, 2), torch.full((3, 2), torch.nan)))


def test_metric_refuses_what_it_does_not_know() -> None:
    with pytest.raises(InputError, match="expected accuracy, micro-f1 or roc-auc, got 'f2'"):
        metrics.metric("f2", torch.randn(3, 2), torch.zeros(3, dtype=torch.long))
    with pytest.raises(InputError, match="needs two classes, the scores have 3"):
        metrics.metric("roc-auc", torch.randn(3, 3), torch.zeros(3, dtype=torch.long))


def test_label_smoothing_of_classes() -> None:
    logits, y = torch.randn(20, 4, dtype=torch.float64), torch.randint(0, 4, (20,))
    target = F.one_hot(y, 4) * 0.8 + 0.2 / 4
    expected = -(target * logits.log_softmax(1)).sum(1).mean()
    assert torch.allclose(metrics.loss(logits, y, 0.2), expected)


def test_label_smoothing_of_labels() -> None:
    logits = torch.randn(20, 4, dtype=torch.float64)
    y = torch.randint(0, 2, (20, 4)).double()
    target = y * 0.8 + 0.1
    p = logits.sigmoid()
    expected = -(target * p.log() + (1 - target) * (1 - p).log()).mean()
    assert torch.allclose(metrics.loss(logits, y, 0.2), expected)


def test_loss_of_bfloat16_logits_is_float32() -> None:
    assert metrics.loss(torch.randn(4, 2).bfloat16(), torch.zeros(4).long()).dtype == torch.float32


@pytest.mark.parametrize("name", ["cross-entropy", "log-eps"])
@pytest.mark.parametrize("labels", ["classes", "several"])
def test_weighted_loss_is_the_weighted_sum_of_the_rows_own(
    name: metrics.LossName, labels: str
) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 3, generator=generator)
    y = torch.tensor([0, 2, 1, 1, 0, 2])
    if labels == "several":
        y = torch.rand(6, 3, generator=generator).round()
        y[2, 1] = torch.nan
    weight = torch.rand(6, generator=generator)
    rows = [metrics.loss(logits[k : k + 1], y[k : k + 1], name=name) for k in range(6)]
    expected = (weight * torch.stack(rows)).sum()
    torch.testing.assert_close(metrics.loss(logits, y, name=name, weight=weight), expected)
