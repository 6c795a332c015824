"""What a network must beat on planted data: features without the graph, the graph without features.

``mlp`` sees the features only, ``label_propagation`` the graph and the training labels only. Both
choose what they have to choose by the validation nodes, as the network does, and are scored as it
is (:mod:`gat.train.scores`). Each node may have one class or several labels.
"""

import warnings

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from gat.data import NodeTask, TaskGraph
from gat.errors import InputError
from gat.train.scores import reported_metric

__all__ = ["label_propagation", "mlp"]

# How much of a node's labels is its neighbours'; the best for the validation nodes is taken.
ALPHAS = (0.5, 0.8, 0.9, 0.99)
STEPS = 50


def mlp(
    task: NodeTask, split: int = 0, *, width: int = 256, epochs: int = 200, seed: int = 0
) -> float:
    """The test score of scikit-learn's MLPClassifier, one hidden layer, on standardised features.

    Of the first 20 passes over the training nodes each is validated, then every tenth; that with
    the highest score counts.
    """
    from sklearn.neural_network import MLPClassifier
    from sklearn.preprocessing import StandardScaler

    graph = _only_graph(task)
    train, val, test = _parts(graph, split)
    x = StandardScaler().fit(graph.x[train].numpy()).transform(graph.x.numpy())
    y = graph.y.nan_to_num().long() if task.multilabel else graph.y
    known = y[train].numpy()
    classes = np.arange(task.num_classes) if task.multilabel else np.unique(known)
    model = MLPClassifier((width,), random_state=seed)
    best = _Best(task, val, test)
    for epoch in range(1, epochs + 1):
        model.partial_fit(x[train.numpy()], known, classes=classes)
        if epoch > 20 and epoch % 10:
            continue
        found = torch.from_numpy(model.predict_proba(x)).float()
        if not task.multilabel:
            found = _spread_out(found, classes, task.num_classes)
        best.offer(found)
    return best.test_score()


def label_propagation(task: NodeTask, split: int = 0) -> float:
    """The test score of labels spread over the graph, both ways along each edge.

    Zhou et al. 2004, "Learning with Local and Global Consistency", eq. 4, by iteration: a node's
    score for a class is what reaches it of that class, as a share of what reaches it at all.
    """
    graph = _only_graph(task)
    train, val, test = _parts(graph, split)
    y = graph.y if task.multilabel else F.one_hot(graph.y.clamp(min=0), task.num_classes)
    labels = torch.where(train[:, None], y.float().nan_to_num(), 0.0)
    # A last column counts all that reaches a node.
    given = torch.cat([labels, train[:, None].float()], dim=1)
    prior = labels[train].mean(dim=0)
    matrix = _normalized(graph)
    best = _Best(task, val, test)
    for alpha in ALPHAS:
        reached = given
        for _ in range(STEPS):
            reached = alpha * (matrix @ reached) + (1 - alpha) * given
        total = reached[:, -1:]
        found = torch.where(total > 0, reached[:, :-1] / total.clamp(min=1e-30), prior)
        best.offer(found)
    return best.test_score()


class _Best:
    """The scores [N, K] that are best for the validation nodes; of equal ones the last."""

    def __init__(self, task: NodeTask, val: Tensor, test: Tensor) -> None:
        self.task, self.val, self.test = task, val, test
        self.score, self.found = -1.0, torch.empty(0)

    def offer(self, found: Tensor) -> None:
        score = self._metric(found, self.val)
        if score >= self.score:
            self.score, self.found = score, found

    def test_score(self) -> float:
        return self._metric(self.found, self.test)

    def _metric(self, found: Tensor, rows: Tensor) -> float:
        return reported_metric(self.task, found[rows], self.task.graphs[0].y[rows])


def _only_graph(task: NodeTask) -> TaskGraph:
    if task.inductive:
        raise InputError(
            f"{task.name} has {len(task.graphs)} graphs; these baselines are of one graph that "
            "holds all nodes"
        )
    return task.graphs[0]


def _parts(graph: TaskGraph, split: int) -> list[Tensor]:
    """The labelled nodes of train, val and test, bool [N] each."""
    labelled = graph.y >= 0 if graph.y.dim() == 1 else ~graph.y.isnan().all(dim=1)
    return [mask[:, split] & labelled for mask in graph.masks().values()]


def _spread_out(found: Tensor, classes: np.ndarray, count: int) -> Tensor:
    """Scores [N, count] of scores of the ``classes`` that training nodes have."""
    scores = found.new_full((len(found), count), -1.0)
    scores[:, torch.from_numpy(classes)] = found
    return scores


def _normalized(graph: TaskGraph) -> Tensor:
    """D^(-1/2) A D^(-1/2) of the undirected graph without loops, sparse CSR [N, N]."""
    source, target = graph.edge_index[:, graph.edge_index[0] != graph.edge_index[1]]
    pairs = torch.cat([torch.stack([target, source]), torch.stack([source, target])], dim=1)
    pairs = pairs.unique(dim=1)
    degree = torch.bincount(pairs[0], minlength=graph.num_nodes).clamp(min=1).double()
    weight = (degree[pairs[0]] * degree[pairs[1]]).rsqrt().float()
    size = (graph.num_nodes, graph.num_nodes)
    with warnings.catch_warnings():
        # Said once by torch, of CSR being in beta: a user of ours cannot act on it.
        warnings.filterwarnings("ignore", message="Sparse (CSR tensor support|invariant checks)")
        return torch.sparse_coo_tensor(pairs, weight, size).coalesce().to_sparse_csr()
