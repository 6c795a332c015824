"""Layer-wise inference beside the forward pass over the whole graph."""

import contextlib
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from gat.errors import GatError, IndexRangeError, InputError
from gat.graph import Graph
from gat.models import GAT
from gat.train import layerwise, predict, spill
from gat.train.chunks import Cost, chunks
from tests.graphs import GRAPHS, SQUARE

OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "gatv2": {"attention": "gatv2"},
    "residual, batch norm": {"residual": "linear", "norm": "batch"},
    "jumping knowledge by max": {"jumping_knowledge": "max"},
    "jumping knowledge by lstm": {"jumping_knowledge": "lstm", "residual": "identity"},
    "symmetric norm": {"symmetric_norm": True},
    "symmetric norm without loops": {"symmetric_norm": True, "add_self_loops": False},
    "linear input and output": {"linear_input": True, "linear_output": True},
    "edge features": {"edge_dim": 3},
    "edge embeddings, gatv2": {"edge_dim": 3, "edge_embedding": 4, "attention": "gatv2"},
    "no target score, skip of the output": {"target_score": False, "residual_output": True},
}
WAYS: dict[str, dict[str, Any]] = {
    "at once": {},
    "37 targets": {"batch_size": 37},
    "20 kB": {"bytes": 20_000},
}


def network(seed: int = 0, **options: Any) -> GAT:
    torch.manual_seed(seed)
    model = GAT(6, 5, num_layers=3, heads=2, hidden_channels=4, **options)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.running_mean.uniform_(-1, 1)
            module.running_var.uniform_(0.5, 2)
    return model


def whole(model: GAT, *inputs: Any) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(*inputs)


def random_graph(nodes: int = 120, edges: int = 900) -> torch.Tensor:
    """With parallel edges, loops, a hub (node 0), and nodes without neighbours."""
    generator = torch.Generator().manual_seed(1)
    source = torch.randint(0, nodes, (edges,), generator=generator)
    target = torch.randint(0, nodes - 5, (edges,), generator=generator)
    target[: edges // 4] = 0
    return torch.stack([source, target])


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_layerwise_is_the_forward_pass(options: dict[str, Any], way: dict[str, Any]) -> None:
    edges, model = random_graph(), network(**options)
    x = torch.randn(120, 6)
    attr = torch.randn(edges.size(1), 3) if "edge_dim" in options else None
    expected = whole(model, x, edges, attr)
    torch.testing.assert_close(predict(model, x, edges, attr, **way), expected)
    some = torch.tensor([5, 119, 5, 0])
    torch.testing.assert_close(predict(model, x, edges, attr, nodes=some, **way), expected[some])


@pytest.mark.parametrize("name", SQUARE)
@pytest.mark.parametrize("options", [{}, {"jumping_knowledge": "cat", "symmetric_norm": True}])
def test_layerwise_on_any_graph(name: str, options: dict[str, Any]) -> None:
    edges, count, _ = GRAPHS[name]
    model, x = network(**options), torch.randn(count, 6)
    expected = whole(model, x, Graph.from_edge_index(edges, count))
    for way in ({"bytes": 1}, {"batch_size": 3}, {}):
        torch.testing.assert_close(predict(model, x, edges, **way), expected)


def test_layerwise_of_no_nodes() -> None:
    found = predict(network(), torch.randn(120, 6), random_graph(), nodes=torch.tensor([]).long())
    assert found.shape == (0, 5)
    found = predict(
        network(), torch.randn(120, 6), random_graph(), nodes=torch.tensor([]).long(), bytes=1
    )
    assert found.shape == (0, 5)


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support")
def test_layerwise_takes_sparse_features() -> None:
    edges, model = random_graph(), network(residual="linear")
    x = torch.randn(120, 6).relu()
    expected = whole(model, x, edges)
    found = predict(model, x.to_sparse_csr(), edges, batch_size=7)
    torch.testing.assert_close(found, expected)


def test_layerwise_computes_only_what_the_nodes_need(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a path 0 -> 1 -> ... of 50 nodes, three layers reach three nodes back."""
    path = torch.stack([torch.arange(49), torch.arange(1, 50)])
    counts: list[int] = []
    real = layerwise._Layers._parts

    def counted(self: Any, number: int, wanted: Any) -> Any:
        for part in real(self, number, wanted):
            counts.append(part.numel())
            yield part

    monkeypatch.setattr(layerwise._Layers, "_parts", counted)
    x, model = torch.randn(50, 6), network()
    found = predict(model, x, path, nodes=torch.tensor([20]), batch_size=50 - 1)
    torch.testing.assert_close(found, whole(model, x, path)[20:21])
    # Looking back from the last layer to the second, then the three layers.
    assert counts == [1, 2, 3, 2, 1]


def test_layerwise_keeps_training_mode_and_gradients_off() -> None:
    edges, model = random_graph(), network()
    model.train()
    found = predict(model, torch.randn(120, 6), edges, batch_size=10)
    assert model.training
    assert not found.requires_grad


def test_layerwise_tells_its_stages() -> None:
    told: list[tuple[int, int]] = []
    x, edges = torch.randn(120, 6), random_graph()
    predict(network(), x, edges, batch_size=50, on_stage=lambda *told_: told.append(told_))
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_large_states_go_to_a_file_that_does_not_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    sizes: list[int] = []

    def noted(*_: int) -> None:
        sizes.append(sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()))

    edges, model, x = random_graph(), network(), torch.randn(120, 6)
    found = predict(model, x, edges, bytes=1000, on_stage=noted)
    # Two hidden layers of [120, 8] floats; the result is in memory.
    assert sizes == [3840, 7680, 7680]
    assert not list(tmp_path.iterdir())
    torch.testing.assert_close(found, whole(model, x, edges))


def test_full_disk_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(spill.os, "posix_fallocate", full)
    with pytest.raises(GatError, match=r"no room for 3840 bytes in .*: No space left .*TMPDIR"):
        predict(network(), torch.randn(120, 6), random_graph(), bytes=1)


def test_what_cannot_be_computed_is_refused() -> None:
    x, edges = torch.randn(120, 6), random_graph()
    with pytest.raises(InputError, match=r"Linear has no stages.*pass a gat\.models\.GAT"):
        predict(nn.Linear(6, 2), x, edges)
    with pytest.raises(IndexRangeError, match="120 in place 1 is no node"):
        predict(network(), x, edges, nodes=torch.tensor([0, 120]))


POINTERS = {
    "even": torch.arange(0, 101, 5),
    "hub": torch.tensor([0, 1, 2, 500, 501, 502]),
    "no edges": torch.zeros(9, dtype=torch.int64),
    "one": torch.tensor([0, 7]),
    "none": torch.tensor([0]),
}


@pytest.mark.parametrize("limit", [0, 100, 333, 10**6])
@pytest.mark.parametrize("most", [None, 1, 3])
@pytest.mark.parametrize("pointer", POINTERS.values(), ids=POINTERS)
def test_chunks_cover_all_within_bounds(
    pointer: torch.Tensor, most: int | None, limit: int
) -> None:
    cost = Cost(source=7, target=5, edge=3, most_sources=50)
    found = list(chunks(pointer, cost, limit, most))
    assert [begin for begin, _ in found] == [0, *(end for _, end in found[:-1])]
    assert found[-1][1] == pointer.numel() - 1
    for begin, end in found:
        edges = int(pointer[end] - pointer[begin])
        assert end - begin <= 1 or cost.of(end - begin, edges) <= limit
        assert most is None or end - begin <= most
        # No chunk could take one more.
        if end < pointer.numel() - 1 and end - begin != most:
            assert cost.of(end + 1 - begin, int(pointer[end + 1] - pointer[begin])) > limit


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_what_fits_at_once_is_the_forward_pass_and_tells_its_stages(
    options: dict[str, Any],
) -> None:
    told: list[tuple[int, int]] = []
    x, edges, model = torch.randn(120, 6), random_graph(), network(**options)
    edge_attr = torch.randn(edges.size(1), 3) if "edge_dim" in options else None
    found = predict(model, x, edges, edge_attr, on_stage=lambda *each: told.append(each))
    assert torch.equal(found, whole(model, x, edges, edge_attr))
    count = len(model.stages())
    assert told == [(number, count) for number in range(1, count + 1)]


@pytest.mark.parametrize("broken", [False, True])
def test_frozen_parts_of_a_network_in_training_stay_frozen(broken: bool) -> None:
    edges, model = random_graph(), network(norm="batch")
    model.train()
    model.hidden[0].norm.eval()
    with contextlib.suppress(InputError):
        predict(
            model, torch.randn(120, 6), edges, batch_size=10, on_stage=fails if broken else None
        )
    assert model.training
    assert model.hidden[1].training
    assert not model.hidden[0].norm.training


def fails(*_: int) -> None:
    raise InputError("no")


@pytest.mark.parametrize("bytes", [1000, 2**30])
@pytest.mark.parametrize("rows", [0, 899, 901])
def test_edge_features_must_be_one_row_per_edge(rows: int, bytes: float) -> None:
    model = network(edge_dim=3)
    sentence = f"edge_attr has {rows} rows; expected one per edge, 900"
    with pytest.raises(InputError, match=sentence):
        predict(model, torch.randn(120, 6), random_graph(), torch.randn(rows, 3), bytes=bytes)


def test_batches_of_no_target_are_refused() -> None:
    with pytest.raises(InputError, match="batch_size is 0; expected 1 or more targets, or None"):
        predict(network(), torch.randn(120, 6), random_graph(), batch_size=0)
