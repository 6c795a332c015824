"""The Planetoid reader on small files in the true format."""

import pickle
from collections import defaultdict

import numpy as np
import pytest
import scipy.sparse
import torch

from gat.data.loading import load_card
from gat.errors import CorruptDataError

PARTS = ("x", "tx", "allx", "y", "ty", "ally", "graph", "test.index")


@pytest.fixture
def planetoid(tmp_path, a_card):
    """Writes the eight files (parts may be replaced) and reads them.

    510 described nodes, of which 4 train and 500 validate; test nodes 510, 513 and 511 in this
    order, so that node 512 is described by no file.
    """

    def read(**parts):
        rng = np.random.default_rng(0)
        usual = {
            "allx": scipy.sparse.csr_matrix(rng.integers(0, 2, (510, 5)).astype(np.float32)),
            "tx": scipy.sparse.csr_matrix(np.eye(3, 5, dtype=np.float32)),
            "ally": np.eye(3, dtype=np.int32)[np.arange(510) % 3],
            "ty": np.eye(3, dtype=np.int32)[[2, 1, 0]],
            "graph": defaultdict(list, {0: [1, 1, 0], 1: [0], 510: [513], 513: [510], 512: []}),
            "test.index": "510\n513\n511\n",
        }
        usual["x"], usual["y"] = usual["allx"][:4], usual["ally"][:4]
        usual |= parts
        raw = tmp_path / "made_up" / "raw"
        raw.mkdir(parents=True)
        for part in PARTS:
            value = usual[part]
            content = value.encode() if isinstance(value, str) else pickle.dumps(value, protocol=4)
            (raw / f"ind.tiny.{part}").write_bytes(content)
        files = [{"name": f"ind.tiny.{part}"} for part in PARTS]
        card = a_card(reader="planetoid", options={"prefix": "tiny"}, files=files)
        return load_card(card, tmp_path)

    return read


def test_planetoid_puts_test_nodes_in_their_places(planetoid):
    graph = planetoid().graphs[0]
    assert graph.num_nodes == 514
    assert graph.x[[510, 513, 511]].tolist() == np.eye(3, 5).tolist()
    assert graph.y[[510, 513, 511]].tolist() == [2, 1, 0]
    assert graph.test_mask[:, 0].nonzero()[:, 0].tolist() == [510, 511, 513]
    assert graph.train_mask[:, 0].nonzero()[:, 0].tolist() == [0, 1, 2, 3]
    assert graph.val_mask[:, 0].nonzero()[:, 0].tolist() == list(range(4, 504))


def test_planetoid_leaves_an_undescribed_node_unlabelled(planetoid):
    graph = planetoid().graphs[0]
    assert graph.y[512] == -1
    assert graph.x[512].sum() == 0


def test_planetoid_drops_loops_and_duplicates(planetoid):
    edges = planetoid().graphs[0].edge_index
    assert sorted(map(tuple, edges.T.tolist())) == [(0, 1), (1, 0), (510, 513), (513, 510)]
    assert edges.dtype == torch.int64


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ({"graph": {0: [514]}}, "the graph names a node outside 0 to 513"),
        ({"graph": {-1: [0]}}, "the graph names a node outside 0 to 513"),
        ({"graph": {0: ["a"]}}, "do not fit together"),
        ({"graph": [1, 2]}, "do not fit together"),
        ({"ty": np.eye(3)[:2]}, "differ in length"),
        ({"y": np.eye(3)[np.zeros(300, dtype=int)]}, "do not fit together"),
        ({"tx": np.eye(3, 4)}, "do not fit together"),
        ({"test.index": "510\n510\n511\n"}, "repeats a node"),
        ({"test.index": "5\n513\n511\n"}, "names one that allx has"),
        ({"test.index": "510\nx\n"}, "one node number a line"),
        ({"test.index": "\n"}, "holds no node numbers"),
    ],
)
def test_planetoid_refuses_files_that_do_not_fit(planetoid, parts, says):
    with pytest.raises(CorruptDataError, match=says):
        planetoid(**parts)
