"""Graphs of one's own from npz and GraphML; pickles are refused with the way out."""

import os
import pickle

import networkx
import numpy as np
import pytest
import torch

from gat.data import from_files
from gat.errors import CorruptDataError, InputError


@pytest.fixture
def npz(tmp_path):
    """Writes an npz in PyG's names (arrays may be replaced, None leaves one out)."""

    def write(**arrays):
        usual = {
            "x": np.arange(24, dtype=np.float64).reshape(8, 3),
            "y": np.array([0, 1, 0, 1, 0, 1, 0, -1]),
            "edge_index": np.array([[0, 1, 2, 3], [1, 2, 3, 4]]),
        }
        usual |= arrays
        path = tmp_path / "own.npz"
        np.savez(path, **{name: value for name, value in usual.items() if value is not None})
        return path

    return write


def test_npz_in_pyg_names(npz):
    task = from_files(npz())
    graph = task.graphs[0]
    assert (task.name, task.num_classes, task.num_edges) == ("own", 2, 8)
    assert graph.x.dtype == torch.float32
    assert graph.y.tolist() == [0, 1, 0, 1, 0, 1, 0, -1]
    used = graph.train_mask | graph.val_mask | graph.test_mask
    assert used[:, 0].tolist() == [True] * 7 + [False]


def test_npz_in_the_names_of_the_heterophilous_files(npz):
    part = np.arange(8) % 3
    path = npz(
        x=None,
        y=None,
        edge_index=None,
        node_features=np.eye(8),
        node_labels=np.arange(8) % 2,
        edges=np.array([[0, 1], [1, 2], [2, 3]]),
        train_masks=np.stack([part == 0, part == 1]),
        val_masks=np.stack([part == 1, part == 2]),
        test_masks=np.stack([part == 2, part == 0]),
    )
    task = from_files(path)
    assert task.num_splits == 2
    assert task.graphs[0].val_mask[:, 1].tolist() == (part == 2).tolist()
    assert task.notes == ("the file's own split",)


def test_npz_directed_and_with_nan_labels(npz):
    y = np.array([0, 1, 0, 1, 0, 1, 0, np.nan])
    task = from_files(npz(y=None, group=y), label="group", directed=True)
    assert task.num_edges == 4
    assert task.graphs[0].y[7] == -1


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"x": None}, r"no array x or node_features; it has y, edge_index"),
        ({"edge_index": np.array([[0], [8]])}, r"names node 8; x has 8 rows, so nodes are 0 to 7"),
        ({"edge_index": np.array([[0], [-1]])}, "names node -1"),
        ({"edge_index": np.zeros((3, 2), dtype=int)}, r"of shape \[3, 2\]"),
        ({"edge_index": np.zeros((2, 2))}, "edges must be whole numbers"),
        ({"y": np.array(["a"] * 8)}, "y must hold numbers"),
        ({"y": np.full(8, 0.5)}, "must be whole class numbers"),
        ({"y": np.zeros(8, dtype=int)}, "fewer than two classes"),
        ({"y": np.arange(5)}, "y has 5 rows, x has 8|train_mask has"),
        ({"train_mask": np.ones(8, dtype=bool)}, "some masks but not all"),
        ({"x": np.full((8, 1), np.nan)}, "feature 0 of node 0 is nan"),
    ],
)
def test_npz_refuses_what_does_not_fit(npz, arrays, says):
    with pytest.raises(InputError, match=says):
        from_files(npz(**arrays))


def test_npz_checks_can_be_turned_off(npz):
    part = np.arange(8) < 4
    masks = {"train_mask": part, "val_mask": ~part, "test_mask": part}
    path = npz(x=np.full((8, 1), np.nan), y=np.arange(8) % 2, **masks)
    with pytest.raises(InputError, match="both in the train and in the test"):
        from_files(path, check_finite=False)
    task = from_files(path, allow_overlap=True, check_finite=False)
    assert bool(task.graphs[0].x.isnan().all())


def test_npz_refuses_options_of_tables(npz):
    with pytest.raises(InputError, match=r"ignore applies to tables with named columns"):
        from_files(npz(), ignore=["x"])


class Payload:
    def __init__(self, marker) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


def test_npz_with_an_object_array_is_refused_without_running_it(npz, tmp_path):
    marker = tmp_path / "marker"
    with pytest.raises(CorruptDataError, match="holds pickled objects"):
        from_files(npz(y=np.array([Payload(marker)] * 8, dtype=object)))
    assert not marker.exists()


@pytest.mark.parametrize("suffix", [".gpickle", ".pkl", ".pickle", ".pt"])
def test_pickles_are_refused_with_a_pointer_to_graphml(tmp_path, suffix):
    marker, path = tmp_path / "marker", tmp_path / f"graph{suffix}"
    path.write_bytes(pickle.dumps(Payload(marker)))
    with pytest.raises(InputError, match=r"is refused.*networkx\.write_graphml"):
        from_files(path)
    assert not marker.exists()


@pytest.fixture
def graphml(tmp_path):
    def write(graph):
        path = tmp_path / "club.graphml"
        networkx.write_graphml(graph, path)
        return path

    return write


def test_graphml_reads_attributes_like_columns(graphml):
    graph = networkx.path_graph(["a", "b", "c", "d", "e", "f"])
    for position, node in enumerate(graph):
        graph.nodes[node].update(size=position / 2, kind="xy"[position % 2], loud=position > 3)
    del graph.nodes["c"]["kind"]
    task = from_files(graphml(graph), label="kind")
    found = task.graphs[0]
    assert found.node_ids == tuple("abcdef")
    assert task.class_names == ("x", "y")
    assert found.y.tolist() == [0, 1, -1, 1, 0, 1]
    assert found.x.tolist() == [[float(i > 3), i / 2] for i in range(6)]
    assert task.num_edges == 10


def test_graphml_of_the_karate_club(graphml):
    task = from_files(graphml(networkx.karate_club_graph()), label="club")
    assert (task.num_nodes, task.num_edges, task.class_names) == (34, 156, ("Mr. Hi", "Officer"))


@pytest.mark.parametrize(("directed", "edges"), [(False, 4), (True, 2)])
def test_graphml_of_a_directed_graph(graphml, directed, edges):
    graph = networkx.DiGraph([("a", "b"), ("b", "c")])
    for position, node in enumerate([*graph, "d"]):
        graph.add_node(node, label=position % 2)
    task = from_files(graphml(graph), directed=directed)
    assert task.num_edges == edges
    assert any("both directions (directed=False)" in note for note in task.notes) != directed


def test_graphml_of_an_undirected_graph_read_as_directed_goes_both_ways(graphml):
    graph = networkx.path_graph(4)
    for node in graph:
        graph.nodes[node]["label"] = node % 2
    assert from_files(graphml(graph), directed=True).num_edges == 6


def test_graphml_names_the_node_at_fault(graphml):
    graph = networkx.path_graph(["a", "b", "c", "d"])
    for position, node in enumerate(graph):
        graph.nodes[node].update(label=position % 2, size=float(position))
    del graph.nodes["c"]["size"]
    with pytest.raises(
        InputError, match=r"club\.graphml, node 'c': the number .*'size' is missing"
    ):
        from_files(graphml(graph))


@pytest.mark.parametrize("content", [b"", b"<graphml>", b"not xml"])
def test_graphml_that_is_damaged_is_refused(tmp_path, content):
    (tmp_path / "x.graphml").write_bytes(content)
    with pytest.raises(InputError, match=r"x\.graphml could not be read as GraphML|holds no nodes"):
        from_files(tmp_path / "x.graphml")


def test_graphml_with_a_nodes_file_is_refused(graphml, tmp_path):
    with pytest.raises(InputError, match="give no nodes file"):
        from_files(graphml(networkx.path_graph(3)), tmp_path / "nodes.csv")
