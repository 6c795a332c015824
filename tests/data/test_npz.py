"""The npz reader on small files in the true format, and on hostile ones."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from gat.data.loading import load_card
from gat.data.npz import read_arrays
from gat.errors import CorruptDataError, InputError


@pytest.fixture
def npz(tmp_path, a_card):
    """Writes an npz of five nodes and two splits (arrays may be replaced) and reads it."""

    def read(**arrays):
        masks = np.array([[1, 0, 0, 0, 0], [0, 1, 0, 0, 0]], dtype=bool)
        usual = {
            "node_features": np.eye(5, 3, dtype=np.float32),
            "node_labels": np.array([0, 1, 0, 1, 2]),
            "edges": np.array([[0, 1], [1, 2], [3, 4]]),
            "train_masks": masks,
            "val_masks": np.roll(masks, 1, axis=1),
            "test_masks": np.roll(masks, 2, axis=1),
        }
        usual |= arrays
        raw = tmp_path / "made_up" / "raw"
        raw.mkdir(parents=True)
        np.savez(raw / "made_up.npz", **{k: v for k, v in usual.items() if v is not None})
        return load_card(a_card(splits=2, files=[{"name": "made_up.npz"}]), tmp_path)

    return read


def test_npz_turns_each_stored_edge_both_ways(npz):
    edges = npz().graphs[0].edge_index
    assert sorted(map(tuple, edges.T.tolist())) == [
        (0, 1),
        (1, 0),
        (1, 2),
        (2, 1),
        (3, 4),
        (4, 3),
    ]


def test_npz_masks_become_nodes_by_splits(npz):
    task = npz()
    assert task.graphs[0].train_mask.nonzero().tolist() == [[0, 0], [1, 1]]
    assert (task.num_splits, task.num_classes) == (2, 3)


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"edges": None}, "lacks edges; it has node_features"),
        ({"edges": np.zeros((2, 3), dtype=int)}, r"edges must be \[E, 2\], it is \[2, 3\]"),
    ],
)
def test_npz_refuses_other_contents(npz, arrays, says):
    with pytest.raises(CorruptDataError, match=says):
        npz(**arrays)


class Payload:
    def __init__(self, marker) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


def test_read_arrays_refuses_an_object_array_without_running_it(tmp_path):
    marker = tmp_path / "marker"
    np.savez(tmp_path / "x.npz", edges=np.array([Payload(marker)], dtype=object))
    with pytest.raises(CorruptDataError, match="holds pickled objects"):
        read_arrays(tmp_path / "x.npz")
    assert not marker.exists()


def test_read_arrays_refuses_a_pickle_that_is_called_npz(tmp_path):
    marker = tmp_path / "marker"
    (tmp_path / "x.npz").write_bytes(pickle.dumps(Payload(marker)))
    with pytest.raises(CorruptDataError, match="it is not a zip file"):
        read_arrays(tmp_path / "x.npz")
    assert not marker.exists()


@pytest.mark.parametrize("kept", [0, 1, 30, 200])
def test_read_arrays_refuses_a_truncated_file(tmp_path, kept):
    path = tmp_path / "x.npz"
    np.savez(path, x=np.arange(1000))
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CorruptDataError, match=r"x\.npz cannot be read"):
        read_arrays(path)


def test_read_arrays_refuses_a_flipped_bit(tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, x=np.arange(1000))
    content = bytearray(path.read_bytes())
    content[2000] ^= 1
    path.write_bytes(content)
    with pytest.raises(CorruptDataError, match="Bad CRC-32"):
        read_arrays(path)


def test_npz_that_may_not_be_read_is_not_called_corrupt(tmp_path, monkeypatch):
    def refuse(self, *rest, **named):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(InputError, match=r"x\.npz could not be read: Permission denied"):
        read_arrays(tmp_path / "x.npz")
