"""Records of mini-batches, put together under the whole graph's numbers."""

import pytest
import torch
import torch_geometric.nn as pyg
from torch_geometric.data import Data, HeteroData

import gat
from gat.errors import InputError
from tests.graphs import GRAPHS
from tests.inspection.networks import WIDTH

CITES, WRITES = ("paper", "cites", "paper"), ("author", "writes", "paper")


def whole(graph="random"):
    edge_index, num_src, _ = GRAPHS[graph]
    torch.manual_seed(6)
    return Data(x=torch.randn(num_src, WIDTH).double(), edge_index=edge_index)


def batch_of(data, seeds, fan_out=None, generator=None):
    """Seeds with the edges that enter them, all or ``fan_out`` of each, as a loader gives them."""
    chosen = []
    for seed in seeds:
        entering = (data.edge_index[1] == seed).nonzero().squeeze(1)
        if fan_out is not None:
            entering = entering[torch.randperm(entering.numel(), generator=generator)[:fan_out]]
        chosen.append(entering)
    e_id = torch.cat(chosen)
    sources = data.edge_index[0, e_id].tolist()
    n_id = torch.tensor(list(dict.fromkeys([*seeds, *sources])), dtype=torch.int64)
    local = torch.full((data.num_nodes,), -1)
    local[n_id] = torch.arange(n_id.numel())
    edge_index = local[data.edge_index[:, e_id]].view(2, -1)
    return Data(x=data.x[n_id], edge_index=edge_index, n_id=n_id, e_id=e_id)


def layer(library, **options):
    torch.manual_seed(3)
    return library.GATConv(WIDTH, 5, heads=2, **options).double()


def on_all(model, data):
    with gat.record_attention(model) as attention:
        model(data.x, data.edge_index)
    return attention["GATConv"]


@pytest.mark.parametrize("library", [pyg, gat.nn], ids=["pyg", "gat"])
@pytest.mark.parametrize("graph", ["random", "loops_and_duplicates", "hub", "isolated_nodes"])
def test_full_neighbourhoods_give_the_whole_graphs_record(library, graph):
    data, model = whole(graph), layer(library)
    with gat.record_attention(model, full=data) as attention:
        for seeds in torch.arange(data.num_nodes).split(5):
            batch = batch_of(data, seeds.tolist())
            attention.batch(batch)
            model(batch.x, batch.edge_index)
    record, expected = attention["GATConv"], on_all(model, data)
    torch.testing.assert_close(record.weights, expected.weights)
    torch.testing.assert_close(record.loops, expected.loops)
    assert torch.equal(record.edge_index, data.edge_index)
    assert record.edge_id is None
    assert record.coverage == (data.num_nodes, data.num_nodes, 0, 0)


@pytest.mark.parametrize("library", [pyg, gat.nn], ids=["pyg", "gat"])
def test_sampled_neighbourhoods_are_told_from_complete_ones(library):
    data, model = whole(), layer(library)
    generator = torch.Generator().manual_seed(0)
    batches = [batch_of(data, list(range(k, k + 8)), 3, generator) for k in (0, 4, 12)]
    with gat.record_attention(model, full=data.edge_index) as attention:
        for batch in batches:
            attention.batch(n_id=batch.n_id, e_id=batch.e_id)
            model(batch.x, batch.edge_index)
    record = attention["GATConv"]
    degree = torch.bincount(data.edge_index[1], minlength=31)
    met = torch.arange(31) < 20
    assert torch.equal(record.seen, met | (degree == 0) & record.seen)
    assert torch.equal(record.complete, record.seen & (degree <= 3))
    # Each target's weights are those of one batch, so they sum to 1 with its loop.
    torch.testing.assert_close(record.sums[met], torch.ones(20, 2).double())
    assert record.graph.in_degree[met].tolist() == degree[met].clamp(max=3).tolist()
    assert (record.edge_id.diff() > 0).all()
    assert torch.equal(record.edge_index, data.edge_index[:, record.edge_id])
    targets, complete, sampled, unseen = record.coverage
    assert (targets, complete + sampled + unseen) == (31, 31)
    assert sampled == int((met & (degree > 3)).sum())


def test_the_batch_with_most_of_a_targets_edges_counts():
    data, model = whole(), layer(gat.nn)
    node = int(torch.bincount(data.edge_index[1]).argmax())
    with gat.record_attention(model, full=data) as attention:
        for fan_out in (2, None, 3):
            batch = batch_of(data, [node], fan_out)
            attention.batch(batch)
            model(batch.x, batch.edge_index)
    record, expected = attention["GATConv"], on_all(model, data)
    rows = (data.edge_index[1] == node).nonzero().squeeze(1)
    assert torch.equal(record.edge_id, rows)
    torch.testing.assert_close(record.weights, expected.weights[rows])
    assert bool(record.complete[node])


def test_a_layer_may_be_given_the_first_edges_and_targets_alone():
    """As PyG's trim_to_layer does, and bipartite blocks with the targets first."""
    data, model = whole(), layer(gat.nn, add_self_loops=False)
    first, second = batch_of(data, [1, 2]), batch_of(data, [5, 9])
    batch = batch_of(data, [1, 2, 5, 9])
    count = first.edge_index.size(1)
    with gat.record_attention(model, full=data) as attention:
        attention.batch(batch)
        model((batch.x, batch.x[:4]), batch.edge_index[:, :count])
    record = attention["GATConv"]
    assert torch.equal(record.edge_id, first.e_id.sort().values)
    assert second.e_id.numel() > 0
    assert bool(record.complete[1])
    assert not bool(record.seen[5])


def test_a_node_that_stands_twice_in_a_disjoint_batch_counts_once():
    data, model = whole(), layer(gat.nn)
    one = batch_of(data, [7])
    count = one.num_nodes
    both = Data(
        x=torch.cat([one.x, one.x]),
        edge_index=torch.cat([one.edge_index, one.edge_index + count], dim=1),
        n_id=one.n_id.repeat(2),
        e_id=one.e_id.repeat(2),
    )
    with gat.record_attention(model, full=data) as attention:
        attention.batch(both)
        model(both.x, both.edge_index)
    rows = (data.edge_index[1] == 7).nonzero().squeeze(1)
    assert torch.equal(attention["GATConv"].edge_id, rows)


def test_nodes_restrict_batches_by_the_whole_graphs_numbers():
    data, model = whole(), layer(gat.nn)
    with gat.record_attention(model, full=data, nodes=[3, 30]) as attention:
        for seeds in ([3, 4, 5], [29, 30]):
            batch = batch_of(data, seeds)
            attention.batch(batch)
            model(batch.x, batch.edge_index)
    record = attention["GATConv"]
    assert record.seen.nonzero().squeeze(1).tolist() == [3, 30]
    assert set(record.target.tolist()) == {3, 30}


def test_batches_of_a_heterogeneous_graph():
    torch.manual_seed(2)
    edges = {
        CITES: torch.tensor([[0, 1, 1, 3, 2, 1], [1, 0, 1, 2, 3, 0]]),
        WRITES: torch.tensor([[1, 0, 2, 1], [3, 0, 0, 0]]),
    }
    data = HeteroData()
    data["author"].x, data["paper"].x = torch.randn(3, WIDTH), torch.randn(4, WIDTH)
    for kind, pair in edges.items():
        data[kind].edge_index = pair
    metadata = (["author", "paper"], [CITES, WRITES])
    model = gat.nn.HANConv(WIDTH, 6, metadata, heads=2)
    with gat.record_attention(model) as expected:
        model(data.x_dict, data.edge_index_dict)
    papers = {"n_id": torch.tensor([0, 1, 2]), "local": torch.tensor([0, 1, 2, -1])}
    batch = HeteroData()
    batch["paper"].n_id, batch["paper"].x = papers["n_id"], data["paper"].x[:3]
    batch["author"].n_id, batch["author"].x = torch.arange(3), data["author"].x
    batch[CITES].e_id = torch.tensor([0, 1, 2, 5])
    batch[WRITES].e_id = torch.tensor([1, 2, 3])
    for kind in (CITES, WRITES):
        batch[kind].edge_index = edges[kind][:, batch[kind].e_id]
    with gat.record_attention(model, full=data) as attention:
        attention.batch(batch)
        model(batch.x_dict, batch.edge_index_dict)
    for kind in (CITES, WRITES):
        record = attention["HANConv", kind]
        rows = batch[kind].e_id
        assert torch.equal(record.edge_id, rows)
        torch.testing.assert_close(record.weights, expected["HANConv", kind].weights[rows])
    assert attention["HANConv", CITES].coverage == (4, 2, 0, 2)


def test_refusals_teach():
    data, model = whole(), layer(gat.nn)
    batch, other = batch_of(data, [1, 2]), batch_of(data, [4])
    with gat.record_attention(model, full=data) as attention:
        with pytest.raises(InputError, match="ran before any batch was announced"):
            model(batch.x, batch.edge_index)
        with pytest.raises(InputError, match="the batch has no n_id; expected the whole graph's"):
            attention.batch(Data())
        attention.batch(other)
        with pytest.raises(InputError, match=r"these are not the .* edges and .* nodes announced"):
            model(batch.x, batch.edge_index)
        attention.batch(batch)
        model(batch.x, batch.edge_index)
    with gat.record_attention(model) as attention:
        model(batch.x, batch.edge_index)
        with pytest.raises(InputError, match="pass full=, its edge_index or Data"):
            attention.batch(batch)


@pytest.mark.parametrize("fan_out", [None, 3])
def test_batches_on_disk_give_the_same_record(tmp_path, fan_out):
    data, model = whole(), layer(gat.nn)
    generator = torch.Generator().manual_seed(1)
    batches = [batch_of(data, list(range(k, k + 9)), fan_out, generator) for k in (0, 5, 22)]
    records = []
    for folder in (None, tmp_path / "attention"):
        with gat.record_attention(model, full=data, folder=folder) as attention:
            for batch in batches:
                attention.batch(batch)
                model(batch.x, batch.edge_index)
        records.append(attention["GATConv"])
    memory, disk = records
    order = disk.edge_id.argsort()
    assert torch.equal(disk.edge_id[order], memory.edge_id)
    assert torch.equal(disk.weights[order], memory.weights)
    assert torch.equal(disk.edge_index[:, order], memory.edge_index)
    for name in ("loops", "seen", "complete"):
        assert torch.equal(getattr(disk, name), getattr(memory, name))
    stored = gat.inspection.load_attention(tmp_path / "attention")["GATConv"]
    assert torch.equal(stored.weights, disk.weights)
    assert stored.coverage == memory.coverage


def test_an_error_leaves_what_was_on_disk_before(tmp_path):
    data, model = whole(), layer(gat.nn)
    batch = batch_of(data, [1, 2])

    def record(fails):
        with gat.record_attention(model, full=data, folder=tmp_path / "a") as attention:
            attention.batch(batch)
            model(batch.x, batch.edge_index)
            assert not fails, "stop"
        return attention["GATConv"]

    first = record(fails=False)
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    with pytest.raises(AssertionError, match="stop"):
        record(fails=True)
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == files
    stored = gat.inspection.load_attention(tmp_path / "a")["GATConv"]
    assert torch.equal(stored.weights, first.weights)


def test_the_whole_graphs_record_goes_to_disk_too(tmp_path):
    data, model = whole(), layer(gat.nn)
    with gat.record_attention(model, folder=tmp_path / "a") as attention:
        model(data.x, data.edge_index)
    expected = on_all(model, data)
    for record in (
        attention["GATConv"],
        gat.inspection.load_attention(tmp_path / "a")["GATConv"],
    ):
        assert torch.equal(record.weights, expected.weights)
        assert torch.equal(record.loops, expected.loops)
        assert record.edge_id is None
    expected.save(tmp_path / "b")
    assert list(gat.inspection.load_attention(tmp_path / "b")) == ["GATConv"]
    assert len(expected.to_pandas(loops=False)) == data.num_edges
    assert expected.to_networkx().number_of_nodes() == data.num_nodes
