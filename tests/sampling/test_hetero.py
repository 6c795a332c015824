"""Neighbourhoods over several node and edge types, beside their definition and PyG's promises."""

import pytest
import torch
from torch_geometric.data import HeteroData
from torch_geometric.loader import LinkLoader, NodeLoader
from torch_geometric.nn import to_hetero
from torch_geometric.sampler import NodeSamplerInput
from torch_geometric.sampler.base import NumNeighbors

import gat
from gat.errors import ArgumentTypeError, IndexRangeError, InputError
from gat.ops import cpu
from gat.sampling import NeighborLoader, NeighborSampler, hops
from gat.sampling.reference import expand_slowly
from tests.sampling.citations import CITES, WRITES, WRITTEN, library

compiled = pytest.mark.skipif(cpu.library() is None, reason="needs the compiled library")
KINDS = [CITES, WRITES, WRITTEN]
PER_KIND = {CITES: [3, 0, 2], WRITES: [-1, 2, 1], WRITTEN: [1, 4, -1]}


def sampled(sampler, nodes, kind="paper", time=None):
    sampler.set_epoch(0)
    return sampler.sample_from_nodes(NodeSamplerInput(None, torch.tensor(nodes), time, kind))


def flat(out) -> dict[str, list]:
    """Everything an output holds, as lists that compare."""
    names = ("node", "row", "col", "edge", "batch", "num_sampled_nodes", "num_sampled_edges")
    return {
        name: {
            kind: value.tolist() if isinstance(value, torch.Tensor) else value
            for kind, value in (getattr(out, name) or {}).items()
        }
        for name in names
    }


@compiled
@pytest.mark.parametrize(
    "options",
    [{}, {"replace": True}, {"weight_attr": "weight"}, {"disjoint": True}],
    ids=["distinct", "replace", "weighted", "disjoint"],
)
@pytest.mark.parametrize("fanouts", [[3, 2], PER_KIND], ids=["for all types", "by type"])
def test_compiled_sampler_draws_what_the_definition_draws(fanouts, options, monkeypatch):
    sampler = NeighborSampler(library(), fanouts, seed=4, **options)
    fast = sampled(sampler, [5, 0, 39])
    monkeypatch.setattr(hops, "_expand", expand_slowly)
    assert flat(fast) == flat(sampled(sampler, [5, 0, 39]))


@pytest.mark.parametrize("disjoint", [False, True], ids=["together", "disjoint"])
def test_edges_are_the_datas_and_each_node_gets_its_fanout(disjoint):
    data = library()
    out = sampled(NeighborSampler(data, PER_KIND, disjoint=disjoint), [3, 11, 39])
    assert out.node["paper"][:3].tolist() == [3, 11, 39]
    for kind in KINDS:
        source, target = out.node[kind[0]][out.row[kind]], out.node[kind[-1]][out.col[kind]]
        assert torch.equal(torch.stack([source, target]), data[kind].edge_index[:, out.edge[kind]])
        assert sum(out.num_sampled_edges[kind]) == out.edge[kind].numel()
        degree = torch.bincount(data[kind].edge_index[1], minlength=data[kind[-1]].num_nodes)
        drawn = torch.bincount(out.col[kind], minlength=out.node[kind[-1]].numel())
        hop_of = torch.arange(4).repeat_interleave(torch.tensor(out.num_sampled_nodes[kind[-1]]))
        fanouts = [degree.max() if k < 0 else k for k in PER_KIND[kind]] + [0]
        most = torch.tensor(fanouts)[hop_of]
        assert torch.equal(drawn, torch.minimum(degree[out.node[kind[-1]]], most))
    for kind, nodes in out.node.items():
        assert sum(out.num_sampled_nodes[kind]) == nodes.numel()
        each = nodes if not disjoint else torch.stack([nodes, out.batch[kind]], dim=1)
        assert each.unique(dim=0).size(0) == nodes.numel()


def test_all_neighbours_are_found_hop_by_hop():
    data = library()
    out = sampled(NeighborSampler(data, [-1, -1, -1]), [7], "author")
    known, newest = {("author", 7)}, {("author", 7)}
    for hop in range(3):
        found, edges = set(), dict.fromkeys(KINDS, 0)
        for kind in KINDS:
            for source, target in data[kind].edge_index.t().tolist():
                if (kind[-1], target) in newest:
                    edges[kind] += 1
                    found.add((kind[0], source))
        newest = found - known
        known |= newest
        for name in ("paper", "author"):
            number = out.num_sampled_nodes[name][hop + 1]
            assert number == sum(kind == name for kind, _ in newest)
        assert {kind: out.num_sampled_edges[kind][hop] for kind in KINDS} == edges
    nodes = {(kind, node) for kind, all_ in out.node.items() for node in all_.tolist()}
    assert nodes == known


def test_draws_do_not_depend_on_the_batch():
    sampler = NeighborSampler(library(), [3])

    def drawn(seeds):
        out = sampled(sampler, seeds)
        return {
            (kind, seed): out.edge[kind][out.col[kind] == place].tolist()
            for kind in (CITES, WRITES)
            for place, seed in enumerate(seeds)
        }

    assert drawn([0, 1, 2]) == drawn([2, 0, 1]) == drawn([0]) | drawn([1]) | drawn([2])


def test_pygs_node_loader_makes_batches_of_it():
    data = library()
    sampler = NeighborSampler(data, [3, 2])
    loader = NodeLoader(data, sampler, ("paper", torch.arange(10, 30)), batch_size=8)
    batches = list(loader)
    assert [batch["paper"].batch_size for batch in batches] == [8, 8, 4]
    ids = torch.cat([batch["paper"].input_id for batch in batches])
    assert ids.tolist() == list(range(20))
    for batch in batches:
        assert torch.equal(
            batch["paper"].n_id[: batch["paper"].batch_size], batch["paper"].input_id + 10
        )
        for kind in KINDS:
            assert torch.equal(batch[kind].weight, data[kind].weight[batch[kind].e_id])
        for name in ("paper", "author"):
            assert torch.equal(batch[name].x, data[name].x[batch[name].n_id])


def test_induced_batches_have_every_edge_among_their_nodes():
    data = library()
    loader = NeighborLoader(
        data, [2, 2], ("paper", torch.tensor([4, 9])), batch_size=2, subgraph_type="induced"
    )
    batch = next(iter(loader))
    for kind in KINDS:
        source, target = data[kind].edge_index
        inside = torch.isin(source, batch[kind[0]].n_id) & torch.isin(target, batch[kind[-1]].n_id)
        assert batch[kind].e_id.sort().values.tolist() == inside.nonzero()[:, 0].tolist()
        ends = (batch[kind[0]].n_id, batch[kind[-1]].n_id)
        local = torch.stack([n[row] for n, row in zip(ends, batch[kind].edge_index, strict=True)])
        assert torch.equal(local, data[kind].edge_index[:, batch[kind].e_id])


def test_bidirectional_batches_have_every_edge_both_ways():
    loader = NeighborLoader(library(), [3, 2], ("paper", None), subgraph_type="bidirectional")
    batch = next(iter(loader))
    edges = set(map(tuple, batch[CITES].edge_index.t().tolist()))
    assert edges == {(target, source) for source, target in edges}
    assert torch.equal(batch[WRITES].edge_index, batch[WRITTEN].edge_index.flip(0))


class Network(torch.nn.Module):
    """Two layers of HeteroConv, one input size for each node type."""

    def __init__(self):
        super().__init__()
        sizes = {"paper": 6, "author": 4}
        self.first = self.layer(lambda k: ((sizes[k[0]], sizes[k[-1]]), 5))
        self.second = self.layer(lambda k: ((5, 5), 3))

    def layer(self, shape):
        convs = {k: gat.nn.GATv2Conv(*shape(k), add_self_loops=False) for k in KINDS}
        return gat.nn.HeteroConv(convs)

    def forward(self, x, edges):
        hidden = {kind: value.relu() for kind, value in self.first(x, edges).items()}
        return self.second(hidden, edges)["paper"]


class Plain(torch.nn.Module):
    """For PyG's to_hetero, which makes a layer for each edge type of each."""

    def __init__(self):
        super().__init__()
        self.first = gat.nn.GATConv((-1, -1), 5, add_self_loops=False)
        self.second = gat.nn.GATConv((-1, -1), 3, add_self_loops=False)

    def forward(self, x, edge_index):
        return self.second(self.first(x, edge_index).relu(), edge_index)


class Typed(torch.nn.Module):
    """What PyG makes of `Plain`; gives the papers' outputs as `Network` does."""

    def __init__(self, data):
        super().__init__()
        self.inner = to_hetero(Plain().double(), data.metadata())
        self.inner(data.x_dict, data.edge_index_dict)

    def forward(self, x, edges):
        return self.inner(x, edges)["paper"]


def network(name, data):
    torch.manual_seed(0)
    return Network().double() if name == "HeteroConv" else Typed(data)


def loss_of(out, y):
    return torch.nn.functional.cross_entropy(out, y, reduction="sum")


@pytest.mark.parametrize("name", ["HeteroConv", "to_hetero"])
def test_all_neighbours_give_the_whole_graphs_outputs_and_gradients(name):
    data = library()
    model = network(name, data)
    expected = model(data.x_dict, data.edge_index_dict)
    parameters = list(model.parameters())
    whole = torch.autograd.grad(loss_of(expected, data["paper"].y), parameters, allow_unused=True)
    for batch in NeighborLoader(data, [-1, -1], "paper", batch_size=13, shuffle=True):
        seeds = batch["paper"].batch_size
        out = model(batch.x_dict, batch.edge_index_dict)[:seeds]
        torch.testing.assert_close(out, expected[batch["paper"].n_id[:seeds]])
        loss_of(out, batch["paper"].y[:seeds]).backward()
    for parameter, grad in zip(parameters, whole, strict=True):
        # A parameter of the last layer's authors has none.
        got = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        torch.testing.assert_close(got, torch.zeros_like(got) if grad is None else grad)


@compiled
def test_layers_sort_nothing(sorts):
    data, model = library(), network("HeteroConv", library())
    loader = NeighborLoader(data, [3, 2], "paper", batch_size=10)
    sorts.clear()
    for batch in loader:
        model(batch.x_dict, batch.edge_index_dict).sum().backward()
    assert sorts == []


def test_all_neighbours_give_the_whole_graphs_record():
    data, model = library(), network("HeteroConv", library())
    with gat.record_attention(model) as expected:
        model(data.x_dict, data.edge_index_dict)
    with gat.record_attention(model, full=data) as attention:
        for batch in NeighborLoader(data, [-1, -1, -1], "paper", batch_size=10):
            attention.batch(batch)
            model(batch.x_dict, batch.edge_index_dict)
    for kind in (CITES, WRITES):
        record = attention["second", kind]
        torch.testing.assert_close(record.weights, expected["second", kind].weights)
        assert record.coverage.complete == 40


@pytest.mark.parametrize("disjoint", [False, True], ids=["together", "disjoint"])
@pytest.mark.parametrize("kind", [CITES, WRITES], ids=["one type", "two types"])
def test_links_are_sampled_with_the_neighbours_of_both_ends(kind, disjoint):
    data = library()
    links = data[kind].edge_index[:, :20]
    sampler = NeighborSampler(data, [2, 2], disjoint=disjoint)
    loader = LinkLoader(data, sampler, (kind, links), neg_sampling="binary", batch_size=5)
    for number, batch in enumerate(loader):
        source, target = batch[kind].edge_label_index
        given = torch.stack([batch[kind[0]].n_id[source], batch[kind[-1]].n_id[target]])
        assert torch.equal(given[:, :5], links[:, 5 * number : 5 * number + 5])
        assert batch[kind].edge_label.tolist() == [1.0] * 5 + [0.0] * 5


def without(name: str) -> HeteroData:
    data = library()
    if name == "features":
        del data["author"].x
    else:
        del data[CITES].edge_index
    return data


@pytest.mark.filterwarnings("ignore:Unable to accurately infer")
@pytest.mark.parametrize(
    ("data", "fanouts", "kind", "sentence"),
    [
        (library(), {CITES: [1]}, InputError, "expected a list for each edge type of the data"),
        (library(), PER_KIND | {CITES: [1]}, InputError, "as many hops for every edge type"),
        (library(), 5, ArgumentTypeError, r"num_neighbors is 5; expected a list such as \[15, 10"),
        (without("edges"), [2], InputError, r"of type \('paper', .* have no edge_index"),
        ((1, 2), [2], ArgumentTypeError, "data is of type tuple; expected a Data or HeteroData"),
    ],
    ids=["a type left out", "unlike hops", "a number", "no edges", "stores"],
)
def test_data_and_fanouts_that_cannot_be_meant_are_refused(data, fanouts, kind, sentence):
    with pytest.raises(kind, match=sentence):
        NeighborSampler(data, fanouts)


@pytest.mark.parametrize("nodes", [None, torch.arange(3)], ids=["none", "no type"])
def test_input_nodes_without_a_type_are_refused(nodes):
    with pytest.raises(ArgumentTypeError, match="of heterogeneous data expected a node type"):
        NeighborLoader(library(), [2], nodes)


@pytest.mark.parametrize("nodes", [None, torch.ones(3, dtype=torch.bool)], ids=["all", "mask"])
def test_input_nodes_of_no_type_of_the_data_are_refused(nodes):
    data = library()
    with pytest.raises(InputError, match=r"of type 'venue'; the data have \['paper', 'author'\]"):
        NeighborLoader(data, [2], ("venue", nodes))
    assert data.node_types == ["paper", "author"]


def test_seeds_that_are_none_are_refused():
    sampler = NeighborSampler(library(), NumNeighbors(PER_KIND))
    with pytest.raises(InputError, match=r"of type 'venue'; the data have \['author', 'paper'\]"):
        sampled(sampler, [1], "venue")
    with pytest.raises(IndexRangeError, match="input_nodes: 25 in place 1 is no node"):
        sampled(sampler, [1, 25], "author")
    with pytest.raises(InputError, match="input_nodes: 3 is there twice"):
        sampled(sampler, [3, 1, 3])
