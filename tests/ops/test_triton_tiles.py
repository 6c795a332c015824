"""Tiles: what is reckoned, and what is measured and remembered."""

import contextlib
import json

import pytest
import torch

pytest.importorskip("triton")

from gat.errors import InputError
from gat.ops.triton import tuning
from gat.ops.triton.tiles import Tile, heads_of_tile, tile_for

CUDA = torch.device("cuda")


@pytest.fixture
def file(tmp_path, monkeypatch):
    """A GPU whose clock says that tiles of 8 edges are the fastest."""
    monkeypatch.setenv(tuning.VARIABLE, str(tmp_path / "tiles.json"))
    monkeypatch.setattr(tuning, "_gpu", lambda device: "a GPU")
    monkeypatch.setattr(tuning, "_seconds", lambda run, tile: abs(tile.edges - 8) + tile.warps)
    monkeypatch.setattr("torch.cuda.is_current_stream_capturing", lambda: False)
    monkeypatch.setattr("torch.cuda.device", lambda device: contextlib.nullcontext())
    tuning._read.cache_clear()
    return tmp_path / "tiles.json"


def chosen(key=("attend", 8, 32), work=1 << 30, device=CUDA):
    return tuning.choose(key, Tile(16, 2), lambda tile: None, work, device)


def test_fastest_tile_is_kept_and_read_by_the_next_process(file):
    assert chosen() == Tile(8, 2)
    (name,) = json.loads(file.read_text())
    assert name.startswith("a GPU ")
    assert name.endswith("attend 8 32")
    tuning._read.cache_clear()
    assert chosen(work=1) == Tile(8, 2)
    assert chosen(("attend", 4, 32)) == Tile(8, 2)
    assert len(json.loads(file.read_text())) == 2


def test_reckoned_tile_where_nothing_can_be_measured(file, monkeypatch):
    assert chosen(work=1) == chosen(device=torch.device("cpu")) == Tile(16, 2)
    monkeypatch.setattr("torch.cuda.is_current_stream_capturing", lambda: True)
    assert chosen() == Tile(16, 2)
    assert not file.exists()
    monkeypatch.setattr("torch.cuda.is_current_stream_capturing", lambda: False)
    monkeypatch.delenv(tuning.VARIABLE)
    assert chosen() == Tile(16, 2)


@pytest.mark.parametrize("text", ["[1]", '{"x": {"edges": 1}}', '{"x": 3}', "{"])
def test_file_that_holds_no_tiles_is_refused(file, text):
    file.write_text(text)
    with pytest.raises(InputError, match=r"tiles\.json, named by GAT_TILES, holds no measured"):
        chosen()
    assert file.read_text() == text


def test_heads_in_a_tile():
    assert heads_of_tile(8, 32, 4, rows=1000, edges=5000) == 8
    # Whole heads rather than lanes that hold nothing, if a warp has enough to read.
    assert heads_of_tile(3, 250, 4, rows=1000, edges=5000) == 1
    assert heads_of_tile(3, 8, 4, rows=1000, edges=5000) == 4
    assert heads_of_tile(6, 64, 4, rows=1000, edges=5000) == 2
    # Rows that are gathered often, a part at a time where that part fits in the cache.
    assert heads_of_tile(8, 128, 4, rows=70_000, edges=10**7) == 1
    assert heads_of_tile(8, 64, 4, rows=70_000, edges=10**7) == 2
    assert heads_of_tile(8, 64, 4, rows=70_000, edges=70_000) == 8
    assert heads_of_tile(8, 64, 4, rows=10**6, edges=10**8) == 8
    # Rows that would be too long.
    assert heads_of_tile(64, 64, 4, rows=10, edges=10) == 16
    assert heads_of_tile(2, 5000, 4, rows=10, edges=10) == 1


@pytest.mark.parametrize("itemsize", [2, 4, 8])
@pytest.mark.parametrize("row", [1, 8, 64, 256, 1024, 8192])
@pytest.mark.parametrize("tiles", [1, 2, 3])
def test_tiles_are_powers_of_two_that_fit(row, itemsize, tiles):
    for light in (False, True):
        tile = tile_for(row, itemsize, tiles, light)
        assert 1 <= tile.edges <= 64
        assert 1 <= tile.warps <= 8
        assert tile.edges & (tile.edges - 1) == tile.warps & (tile.warps - 1) == 0
        assert tile.edges == 1 or tile.edges * row * tiles <= 32 * tile.warps * 64
