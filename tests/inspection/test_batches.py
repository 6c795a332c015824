"""Records of mini-batches, put together under the whole graph's numbers."""

import re

import pytest
import torch
import torch_geometric.nn as pyg
from torch_geometric.data import Data, HeteroData

import gat
from gat.errors import ArgumentTypeError, IndexRangeError, InputError
from gat.sampling import NeighborLoader
from tests.graphs import GRAPHS
from tests.inspection.networks import WIDTH

CITES, WRITES = ("paper", "cites", "paper"), ("author", "writes", "paper")

EVERY = torch.tensor([[0, 1, 2], [1, 2, 0]])


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


@pytest.mark.parametrize(
    ("changed", "error", "said"),
    [
        ({"e_id": lambda ids: ids - 40}, IndexRangeError, r"e_id names number -\d+, outside"),
        ({"e_id": lambda ids: ids + 99}, IndexRangeError, r"e_id names number \d+, outside"),
        ({"n_id": lambda ids: ids - 99}, IndexRangeError, r"n_id names number -\d+, outside"),
        ({"e_id": lambda ids: ids.float()}, ArgumentTypeError, "e_id is torch.float32 of shape"),
        ({"n_id": lambda ids: ids > 0}, ArgumentTypeError, "n_id is torch.bool of shape"),
        ({"n_id": lambda ids: ids[None]}, ArgumentTypeError, "expected whole numbers"),
        ({"e_id": lambda ids: {CITES: ids}}, ArgumentTypeError, "e_id is a dict; expected int64"),
    ],
    ids=["negative_edge", "large_edge", "negative_node", "float", "mask", "two_rows", "dict"],
)
def test_numbers_that_are_none_of_the_whole_graph_are_refused(changed, error, said):
    data = whole()
    numbers = {"n_id": torch.arange(data.num_nodes), "e_id": torch.arange(data.num_edges)}
    numbers |= {name: change(numbers[name]) for name, change in changed.items()}
    with (
        pytest.raises(error, match=said),
        gat.record_attention(layer(pyg), full=data) as attention,
    ):
        attention.batch(**numbers)


def test_an_isolated_node_beyond_the_edges_asks_for_data():
    data = whole()
    edge_index, nodes = data.edge_index, torch.tensor([int(data.edge_index.max()) + 1])
    with (
        pytest.raises(IndexRangeError, match="a Data or HeteroData"),
        gat.record_attention(layer(pyg), full=edge_index) as attention,
    ):
        attention.batch(n_id=nodes, e_id=torch.empty(0, dtype=torch.int64))


@pytest.mark.parametrize("missing", ["n_id", "e_id"])
@pytest.mark.filterwarnings("ignore:There exist node types")
def test_a_type_without_numbers_is_named(missing):
    full = {CITES: torch.tensor([[0, 1], [1, 2]]), WRITES: torch.tensor([[0, 1], [2, 0]])}
    numbers = {
        "n_id": {"paper": torch.arange(3), "author": torch.arange(2)},
        "e_id": {CITES: torch.arange(2), WRITES: torch.arange(2)},
    }
    kind = {"n_id": "author", "e_id": WRITES}[missing]
    numbers[missing][kind] = None
    model = pyg.HeteroConv(
        {kind: pyg.GATConv((WIDTH, WIDTH), 2, add_self_loops=False) for kind in full}
    )
    x = {"paper": torch.randn(3, WIDTH), "author": torch.randn(2, WIDTH)}
    said = re.escape(f"the batch has no {missing} of type {kind!r}")
    with gat.record_attention(model, full=full) as attention:
        attention.batch(**numbers)
        with pytest.raises(InputError, match=said):
            model(x, full)
    assert ("HeteroConv", WRITES) not in attention


def test_a_layer_whose_batch_was_refused_has_a_record_of_nothing():
    edges = {CITES: torch.tensor([[0, 1], [1, 2]]), ("paper", "quotes", "paper"): EVERY}
    model = pyg.HeteroConv({kind: pyg.GATConv(WIDTH, 2) for kind in edges})
    quotes = list(edges)[1]
    with gat.record_attention(model, full=edges) as attention:
        attention.batch(
            n_id={"paper": torch.arange(3)},
            e_id={CITES: torch.arange(2), quotes: torch.tensor([1, 0, 2])},
        )
        with pytest.raises(InputError, match="these are not the 3 edges"):
            model({"paper": torch.randn(3, WIDTH)}, edges)
    assert attention["HeteroConv", CITES].coverage.complete == 3
    assert attention["HeteroConv", quotes].num_edges == 0
    assert attention["HeteroConv", quotes].coverage.unseen == 3


def test_batches_in_and_out_of_inference_mode_go_together():
    data, model = whole(), layer(gat.nn)
    with gat.record_attention(model, full=data) as attention:
        with torch.inference_mode():
            batch = batch_of(data, [0, 1])
            attention.batch(batch)
            model(batch.x, batch.edge_index)
        batch = batch_of(data, list(range(data.num_nodes)))
        attention.batch(batch)
        model(batch.x, batch.edge_index)
    torch.testing.assert_close(attention["GATConv"].weights, on_all(model, data).weights)


@pytest.mark.filterwarnings("ignore:There exist type names", "ignore:The type")
def test_to_hetero_gets_the_whole_graphs_edge_types_back():
    full = HeteroData()
    full["big-lab"].x, full["paper"].x = torch.randn(3, WIDTH), torch.randn(2, WIDTH)
    kinds = [("big-lab", "rev__wrote", "paper"), ("paper", "wrote by", "big-lab")]
    full[kinds[0]].edge_index = torch.tensor([[0, 2], [1, 0]])
    full[kinds[1]].edge_index = torch.tensor([[1, 0], [0, 2]])

    class One(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = pyg.GATConv((-1, -1), 2, add_self_loops=False)

        def forward(self, x, edge_index):
            return self.conv(x, edge_index)

    model = pyg.to_hetero(One(), full.metadata())
    with gat.record_attention(model, full=full) as attention:
        attention.batch(
            n_id={"big-lab": torch.arange(3), "paper": torch.arange(2)},
            e_id={kind: torch.arange(2) for kind in kinds},
        )
        model(full.x_dict, full.edge_index_dict)
    assert list(attention) == [("conv", kind) for kind in kinds]


class Stack(torch.nn.Module):
    """Layers one after the other."""

    def __init__(self, *layers):
        super().__init__()
        self.layers = torch.nn.ModuleList(layers)

    def forward(self, x, edge_index):
        for conv in self.layers:
            x = conv(x, edge_index).relu()
        return x


def sparse():
    """Two edges enter each node, so that a batch is a small part of the graph."""
    generator = torch.Generator().manual_seed(2)
    source = torch.randint(150, (300,), generator=generator)
    x = torch.randn(150, WIDTH, generator=generator).double()
    return Data(x=x, edge_index=torch.stack([source, torch.arange(150).repeat(2)]))


@pytest.mark.parametrize("told", ["hops", "seeds alone"])
@pytest.mark.parametrize("in_folder", [False, True], ids=["memory", "folder"])
@pytest.mark.parametrize(("hops", "count"), [(2, 2), (3, 2), (3, 3)])
def test_deeper_layers_are_recorded_where_a_node_is_a_seed(hops, count, told, in_folder, tmp_path):
    # At the rim of an earlier batch it has all its edges too, its neighbours not all of theirs.
    if in_folder:
        pytest.importorskip("pyarrow")
    torch.manual_seed(3)
    convs = [gat.nn.GATv2Conv(WIDTH, WIDTH, add_self_loops=False) for _ in range(count)]
    data, model = sparse(), Stack(*convs).double()
    with gat.record_attention(model) as expected:
        model(data.x, data.edge_index)
    folder = tmp_path / "records" if in_folder else None
    with gat.record_attention(model, full=data, folder=folder) as attention:
        for batch in NeighborLoader(data, [-1] * hops, batch_size=8):
            if told == "seeds alone":
                del batch.num_sampled_nodes
            attention.batch(batch)
            model(batch.x, batch.edge_index)
    for name in expected:
        record = attention[name]
        order = slice(None) if record.edge_id is None else record.edge_id.argsort()
        assert record.coverage.complete == 150
        torch.testing.assert_close(record.weights[order], expected[name].weights)


def test_more_edges_count_before_nearness():
    data, model = whole(), layer(gat.nn)
    node = int(torch.bincount(data.edge_index[1]).argmax())
    near, far = batch_of(data, [node], 2), batch_of(data, [0 if node else 1, node])
    near.batch_size = far.batch_size = 1
    with gat.record_attention(model, full=data) as attention:
        for batch in (near, far, near):
            attention.batch(batch)
            model(batch.x, batch.edge_index)
    assert bool(attention["GATConv"].complete[node])
