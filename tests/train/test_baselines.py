"""Baselines beside scikit-learn used directly, on the same split."""

import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from gat.data import NodeTask, load
from gat.errors import InputError
from gat.train import baselines
from gat.train.baselines import label_spreading


def test_logistic_regression_equals_sklearn(toy: NodeTask) -> None:
    graph = toy.graphs[0]
    x, y = graph.x.numpy(), graph.y.numpy()
    model = LogisticRegression(max_iter=1000).fit(x[:12], y[:12])
    assert baselines(toy)["logistic regression"] == model.score(x[26:], y[26:])


def test_label_spreading_equals_the_papers_formula(toy: NodeTask) -> None:
    """Zhou et al. 2004, eq. 4 at its fixed point: F = (1 - alpha) (I - alpha S)^-1 Y."""
    graph = toy.graphs[0]
    matrix = np.zeros((40, 40))
    source, target = graph.edge_index.numpy()
    matrix[source, target] = matrix[target, source] = 1
    np.fill_diagonal(matrix, 0)
    scale = np.diag(np.maximum(matrix.sum(1), 1) ** -0.5)
    y = np.zeros((40, 2))
    y[np.arange(12), graph.y[:12].numpy()] = 1
    found = np.linalg.solve(np.eye(40) - 0.5 * scale @ matrix @ scale, y).argmax(1)
    expected = (found[26:] == graph.y[26:].numpy()).mean()
    assert label_spreading(toy, alpha=0.5) == expected
    assert expected > 0.8


def test_label_spreading_does_not_see_test_labels(toy: NodeTask) -> None:
    before = baselines(toy)["label spreading"]
    toy.graphs[0].y[26:] = 1 - toy.graphs[0].y[26:]
    assert baselines(toy)["label spreading"] == pytest.approx(1 - before)


def test_baselines_of_several_graphs_are_logistic_regression_per_label(
    toy_graphs: NodeTask,
) -> None:
    scores = baselines(toy_graphs)
    assert scores.keys() == {"logistic regression"}
    assert 0.5 < scores["logistic regression"] <= 1


def test_baselines_survive_one_class_and_missing_classes(toy: NodeTask) -> None:
    task = NodeTask("three", toy.graphs, 3)
    assert 0 <= baselines(task)["logistic regression"] <= 1
    toy.graphs[0].y[:12] = 0
    share = float((toy.graphs[0].y[26:] == 0).float().mean())
    assert baselines(toy) == {"logistic regression": share, "label spreading": share}


def test_baselines_without_test_nodes_are_nan(toy: NodeTask) -> None:
    toy.graphs[0].test_mask[:] = False
    scores = baselines(toy)
    assert list(scores) == ["logistic regression", "label spreading"]
    assert all(math.isnan(score) for score in scores.values())


def test_baselines_by_roc_auc(toy: NodeTask) -> None:
    toy.metric = "roc-auc"
    assert all(0.5 < score <= 1 for score in baselines(toy).values())


def test_baselines_refuse_a_split_that_is_not_there(toy: NodeTask) -> None:
    with pytest.raises(InputError, match="toy: split must be 0 to 0, got 1"):
        baselines(toy, 1)


def test_baselines_of_digits() -> None:
    """PyG was tried out on another split of digits: 0.86 and about 0.93 there."""
    scores = baselines(load("digits"))
    assert 0.75 < scores["logistic regression"] < 0.92
    assert 0.85 < scores["label spreading"] < 0.97
    assert torch.get_default_dtype() == torch.float32
