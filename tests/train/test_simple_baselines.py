"""Baselines on planted data: what features alone tell, and what the graph alone tells."""

import pytest
import torch

from gat.data import NodeTask, TaskGraph
from gat.errors import InputError
from gat.train.simple_baselines import label_propagation, mlp


def task(multilabel: bool = False, *, informative: bool = False, linked: bool = True) -> NodeTask:
    """Two rings of 30 nodes, one for each class, and an isolated node; every third node trains."""
    count = 61
    ring = torch.arange(30)
    ends = torch.stack([ring, (ring + 1) % 30])
    edges = torch.cat([ends, ends + 30, torch.tensor([[5], [5]])], dim=1)
    classes = (torch.arange(count) >= 30).long()
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(count, 4, generator=generator)
    if informative:
        x[:, 0] += 6.0 * classes
    part = torch.arange(count) % 3
    masks = [(part == number)[:, None] for number in range(3)]
    y = torch.nn.functional.one_hot(classes, 2).float() if multilabel else classes
    none = torch.empty(2, 0, dtype=torch.long)
    graph = TaskGraph(edges if linked else none, x, y, *masks)
    metric = "roc-auc" if multilabel else "accuracy"
    return NodeTask("rings", (graph,), 2, metric, multilabel)


@pytest.mark.parametrize("multilabel", [False, True], ids=["classes", "labels"])
def test_label_propagation_knows_what_the_graph_tells(multilabel):
    # The isolated node, of the second ring's class, is in the validation part or gets the prior.
    assert label_propagation(task(multilabel)) >= 0.95
    assert label_propagation(task(multilabel, linked=False)) <= 0.6


@pytest.mark.parametrize("multilabel", [False, True], ids=["classes", "labels"])
def test_an_mlp_knows_what_the_features_tell(multilabel):
    assert mlp(task(multilabel, informative=True)) >= 0.95
    assert mlp(task(multilabel)) <= 0.75


def test_neither_sees_what_is_the_others():
    plain, told = task(), task(informative=True)
    assert label_propagation(plain) == label_propagation(told)
    assert mlp(told) == mlp(task(informative=True, linked=False))


def test_labels_of_test_nodes_are_not_seen():
    """Permuting them changes what is right, not what is said: a score of s becomes 1 - s."""
    given = task()
    graph = given.graphs[0]
    right = label_propagation(given), mlp(given)
    test = graph.test_mask[:, 0]
    graph.y[test] = 1 - graph.y[test]
    assert (label_propagation(given), mlp(given)) == pytest.approx([1 - score for score in right])


def test_a_class_without_training_nodes_is_never_said():
    given = task()
    wider = NodeTask(given.name, given.graphs, 5)
    assert mlp(wider) == mlp(given)
    assert label_propagation(wider) == label_propagation(given)


def test_several_graphs_are_refused():
    graph = task().graphs[0]
    with pytest.raises(InputError, match="has 2 graphs; these baselines are of one graph"):
        mlp(NodeTask("two", (graph, graph), 2))
