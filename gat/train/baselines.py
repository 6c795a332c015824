"""scikit-learn on the same split, by the same metric: what a model must beat to be worth its while.

``logistic regression`` sees the features only. ``label spreading`` sees the graph and the training
labels only: scikit-learn's LabelSpreading (Zhou et al. 2004, "Learning with Local and Global
Consistency", eq. 4) with the task's own graph, as a sparse matrix, in place of a kernel.
"""

from typing import Literal

import torch
from torch import Tensor

from gat.data import NodeTask, TaskGraph, normalize_features
from gat.errors import InputError
from gat.train import metrics

Normalization = Literal["none", "row"]

__all__ = ["baselines", "label_spreading", "logistic_regression"]


def baselines(
    task: NodeTask, split: int = 0, *, normalize: Normalization = "none"
) -> dict[str, float]:
    """Test scores by name, fractions in 0..1. Label spreading only where the graph has the test
    nodes beside the training nodes and each node has one class. ``normalize``: of the features, as
    ``data.normalize_features``. NaN where the split has no test nodes.
    """
    if not 0 <= split < task.num_splits:
        raise InputError(f"{task.name}: split must be 0 to {task.num_splits - 1}, got {split}")
    spreads = not task.inductive and not task.multilabel
    if not task.part_sizes(split)["test"]:
        names = ("logistic regression", "label spreading") if spreads else ("logistic regression",)
        return dict.fromkeys(names, float("nan"))
    scores = {"logistic regression": logistic_regression(task, split, normalize=normalize)}
    if spreads:
        scores["label spreading"] = label_spreading(task, split)
    return scores


def logistic_regression(
    task: NodeTask, split: int = 0, *, normalize: Normalization = "none"
) -> float:
    """One LogisticRegression (multi-label: one per label) on the training nodes' features."""
    parts = {}
    for name in ("train", "test"):
        masks = [getattr(graph, f"{name}_mask")[:, split] for graph in task.graphs]
        xs = [
            normalize_features(g.x, normalize)[m] for g, m in zip(task.graphs, masks, strict=True)
        ]
        ys = [graph.y[mask] for graph, mask in zip(task.graphs, masks, strict=True)]
        parts[name] = (torch.cat(xs), torch.cat(ys))
    (x, y), (x_test, y_test) = parts["train"], parts["test"]
    if y.dim() == 1:
        logits = _class_scores(x, y, x_test, task.num_classes)
    else:
        columns = [_label_scores(x, y[:, k], x_test) for k in range(y.shape[1])]
        logits = torch.stack(columns, dim=1)
    return metrics.metric(task.metric, logits, y_test)


def label_spreading(task: NodeTask, split: int = 0, *, alpha: float = 0.9) -> float:
    """Spread the training labels over the graph; ``alpha`` is how much of a node's label is its
    neighbours' (0.99 in the paper, 0.2 in scikit-learn, which is meant for dense kernels).
    """
    from sklearn.semi_supervised import LabelSpreading

    graph = task.graphs[0]
    known = graph.train_mask[:, split] & (graph.y >= 0)
    y = torch.where(known, graph.y, -1).numpy()
    affinity = _affinity(graph)
    model = LabelSpreading(kernel=lambda *_: affinity, alpha=alpha, max_iter=100)
    # The kernel ignores its arguments: the "features" are only the nodes' numbers.
    model.fit(torch.arange(graph.num_nodes, dtype=torch.float32)[:, None].numpy(), y)
    found = torch.from_numpy(model.label_distributions_).double()
    scores = torch.full((graph.num_nodes, task.num_classes), -1.0, dtype=torch.float64)
    scores[:, torch.from_numpy(model.classes_)] = found
    test = graph.test_mask[:, split]
    return metrics.metric(task.metric, scores[test], graph.y[test])


def _affinity(graph: TaskGraph) -> object:
    """The graph as a symmetric 0/1 matrix, scipy CSR [N, N], without self-loops."""
    from scipy.sparse import coo_matrix

    source, target = graph.edge_index[:, graph.edge_index[0] != graph.edge_index[1]].numpy()
    ones = torch.ones(len(source), dtype=torch.float64).numpy()
    matrix = coo_matrix((ones, (target, source)), shape=(graph.num_nodes,) * 2).tocsr()
    matrix = matrix + matrix.T
    matrix.data[:] = 1.0
    return matrix


def _class_scores(x: Tensor, y: Tensor, x_test: Tensor, classes: int) -> Tensor:
    """Log-probabilities [R, classes]; a class without training nodes has -inf."""
    from sklearn.linear_model import LogisticRegression

    scores = torch.full((len(x_test), classes), -torch.inf, dtype=torch.float64)
    seen = y.unique()
    if len(seen) == 1:
        scores[:, seen] = 0.0
        return scores
    model = LogisticRegression(max_iter=1000).fit(x.numpy(), y.numpy())
    found = torch.from_numpy(model.predict_log_proba(x_test.numpy()))
    scores[:, torch.from_numpy(model.classes_)] = found.double()
    return scores


def _label_scores(x: Tensor, y: Tensor, x_test: Tensor) -> Tensor:
    """Log-odds [R] of one label; rows without it (NaN) are left out."""
    known = ~y.isnan()
    scores = _class_scores(x[known], y[known].long(), x_test, 2)
    return (scores[:, 1] - scores[:, 0]).nan_to_num(neginf=-100.0, posinf=100.0)
