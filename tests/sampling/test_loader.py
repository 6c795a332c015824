"""Batches of sampled neighbourhoods: what PyG says they hold, what the whole graph would give."""

from itertools import pairwise

import pytest
import torch
from torch_geometric.data import Data
from torch_geometric.loader import NodeLoader
from torch_geometric.transforms import AddSelfLoops
from torch_geometric.utils import trim_to_layer

import gat
from gat.errors import ArgumentTypeError, IndexRangeError, InputError
from gat.graph import Graph, graph_of
from gat.ops import cpu
from gat.sampling import NeighborLoader, NeighborSampler, Sampler
from tests.graphs import GRAPHS, SQUARE
from tests.sampling.citations import library, papers


class Network(torch.nn.Module):
    """Layers over ``batch.x, batch.edge_index``, as users of PyG write them."""

    def __init__(self, layer, count, **options):
        super().__init__()
        torch.manual_seed(0)
        sizes = [6, *([4] * (count - 1)), 3]
        self.convs = torch.nn.ModuleList(
            layer(a, b, heads=2, concat=False, edge_dim=2, **options).double()
            for a, b in pairwise(sizes)
        )

    def forward(self, x, edge_index, edge_attr):
        for conv in self.convs[:-1]:
            x = conv(x, edge_index, edge_attr).relu()
        return self.convs[-1](x, edge_index, edge_attr)


def loss_of(out, y):
    return torch.nn.functional.cross_entropy(out, y, reduction="sum")


@pytest.mark.parametrize("loops", [True, False], ids=["self-loops", "plain"])
@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("layer", [gat.nn.GATConv, gat.nn.GATv2Conv], ids=lambda k: k.__name__)
def test_all_neighbours_give_the_whole_graphs_outputs_and_gradients(layer, count, loops):
    # What stands for the features of added loops would be a mean over other edges.
    data, model = papers(), Network(layer, count, add_self_loops=loops, fill_value=0.0)
    expected = model(data.x, data.edge_index, data.edge_attr)
    expected_loss = loss_of(expected, data.y)
    grads = torch.autograd.grad(expected_loss, list(model.parameters()))
    total = 0.0
    for batch in NeighborLoader(data, [-1] * count, batch_size=16, shuffle=True):
        out = model(batch.x, batch.edge_index, batch.edge_attr)[: batch.batch_size]
        torch.testing.assert_close(out, expected[batch.n_id[: batch.batch_size]])
        loss = loss_of(out, batch.y[: batch.batch_size])
        loss.backward()
        total += float(loss.detach())
    assert total == pytest.approx(float(expected_loss.detach()))
    for parameter, grad in zip(model.parameters(), grads, strict=True):
        torch.testing.assert_close(parameter.grad, grad)


@pytest.mark.skipif(cpu.library() is None, reason="needs the compiled library")
@pytest.mark.parametrize("inference", [False, True], ids=["training", "inference mode"])
@pytest.mark.parametrize("options", [{}, {"disjoint": True}, {"subgraph_type": "induced"}], ids=str)
def test_layers_sort_nothing(sorts, options, inference):
    model = Network(gat.nn.GATConv, 2)
    loader = NeighborLoader(papers(), [4, 3], batch_size=16, **options)
    sorts.clear()
    with torch.inference_mode(inference):
        for batch in loader:
            out = model(batch.x, batch.edge_index, batch.edge_attr)
            if not inference:
                out.sum().backward()
    assert sorts == []


@pytest.mark.parametrize("loops", [False, True], ids=["plain", "self-loops"])
def test_a_batchs_graph_is_that_of_its_edges(loops):
    for batch in NeighborLoader(papers(), [4, 3], batch_size=16):
        sizes = (batch.num_nodes, batch.num_nodes)
        graph = graph_of(batch.edge_index, sizes, self_loops=loops)
        sorted_ = graph_of(batch.edge_index.clone(), sizes, self_loops=loops)
        assert torch.equal(graph.edge_index, sorted_.edge_index)
        assert torch.equal(graph.rowptr, sorted_.rowptr)


def test_pygs_node_loader_makes_batches_as_it_defines_them():
    data = papers()
    nodes = torch.randperm(50, generator=torch.Generator().manual_seed(1))[:30]
    sampler = NeighborSampler(data, [3, 2])
    for number, batch in enumerate(NodeLoader(data, sampler, nodes, batch_size=12)):
        assert batch.batch_size == min(12, 30 - 12 * number)
        assert torch.equal(
            batch.input_id, torch.arange(12 * number, 12 * number + batch.batch_size)
        )
        assert torch.equal(batch.n_id[: batch.batch_size], nodes[batch.input_id])
        assert torch.equal(batch.n_id[batch.edge_index], data.edge_index[:, batch.e_id])
        assert torch.equal(batch.x, data.x[batch.n_id])
        assert torch.equal(batch.edge_attr, data.edge_attr[batch.e_id])
        assert len(batch.num_sampled_nodes) == 3
        assert sum(batch.num_sampled_nodes) == batch.num_nodes
        assert sum(batch.num_sampled_edges) == batch.num_edges
        assert "batch" not in batch


def test_a_mask_gives_the_nodes_themselves_as_input_ids():
    data = papers()
    for batch in NeighborLoader(data, [2], input_nodes=data.y == 1, batch_size=5):
        assert torch.equal(batch.input_id, batch.n_id[: batch.batch_size])
        assert (batch.y[: batch.batch_size] == 1).all()


@pytest.mark.parametrize("name", SQUARE)
def test_any_graph_gives_what_the_sampler_gives(name):
    edge_index, count, _ = GRAPHS[name]
    data = Data(edge_index=edge_index, num_nodes=count)
    sampler = Sampler(Graph.from_edge_index(edge_index, count), [3, 2], seed=6)
    loader = NeighborLoader(data, [3, 2], batch_size=4, seed=6)
    assert len(loader) == -(-count // 4)
    for batch in loader:
        sample = sampler.sample(batch.input_id)
        assert torch.equal(batch.n_id, sample.nodes)
        assert torch.equal(batch.e_id, sample.edges)
        assert torch.equal(batch.edge_index, sample.edge_index)
        for graph, same in zip(batch.graphs, sample.graphs, strict=True):
            assert torch.equal(graph.edge_index, same.edge_index)
            assert (graph.num_src, graph.num_dst) == (same.num_src, same.num_dst)


def test_graphs_of_the_layers_go_where_the_batch_goes():
    batch = next(iter(NeighborLoader(papers(), [3, 2], batch_size=4))).to("meta")
    assert [graph.device.type for graph in batch.graphs] == ["meta", "meta"]


def test_trim_to_layer_leaves_what_the_next_layer_needs():
    data, model = papers(), Network(gat.nn.GATv2Conv, 2, add_self_loops=False)
    for batch in NeighborLoader(data, [4, 3], batch_size=10):
        x, edge_index, edge_attr = batch.x, batch.edge_index, batch.edge_attr
        expected = model(x, edge_index, edge_attr)[: batch.batch_size]
        for number, conv in enumerate(model.convs):
            x, edge_index, edge_attr = trim_to_layer(
                number,
                batch.num_sampled_nodes,
                batch.num_sampled_edges,
                x,
                edge_index,
                edge_attr,
            )
            x = conv(x, edge_index, edge_attr)
            x = x.relu() if number == 0 else x
        torch.testing.assert_close(x[: batch.batch_size], expected)


def test_all_neighbours_give_the_whole_graphs_record():
    data, model = papers(), Network(gat.nn.GATConv, 2, fill_value=0.0)
    with gat.record_attention(model) as expected:
        model(data.x, data.edge_index, data.edge_attr)
    with gat.record_attention(model, full=data) as attention:
        # A hop more than layers, so that the first layer sees all edges of the second's sources.
        for batch in NeighborLoader(data, [-1, -1, -1], batch_size=16):
            attention.batch(batch)
            model(batch.x, batch.edge_index, batch.edge_attr)
    for name in ("convs.0", "convs.1"):
        torch.testing.assert_close(attention[name].weights, expected[name].weights)
        torch.testing.assert_close(attention[name].loops, expected[name].loops)
        assert attention[name].coverage.complete == 50


def test_a_transform_that_changes_the_edges_changes_their_graph():
    data, model = papers(), Network(gat.nn.GATConv, 1, add_self_loops=False)
    transform = AddSelfLoops("edge_attr")
    loader = NeighborLoader(data, [3], batch_size=10, transform=transform)
    for batch in loader:
        assert "graphs" not in batch
        out = model(batch.x, batch.edge_index, batch.edge_attr)
        same = model(batch.x, batch.edge_index.clone(), batch.edge_attr)
        torch.testing.assert_close(out, same)


@pytest.mark.parametrize("change", ["moved to another target", "from beyond the next hop"])
def test_a_transform_that_keeps_the_numbers_of_edges_changes_their_graphs_too(change):
    # 0 <- 1 <- 2: a hop each.
    data = Data(edge_index=torch.tensor([[1, 2], [0, 1]]), num_nodes=3)
    edges = {"moved to another target": [[1, 2], [0, 0]]}.get(change, [[2, 2], [0, 1]])

    def transform(batch):
        batch.edge_index = torch.tensor(edges)
        return batch

    def batch_of(**options):
        return next(iter(NeighborLoader(data, [1, 1], input_nodes=torch.tensor([0]), **options)))

    assert len(batch_of().graphs) == 2
    assert "graphs" not in batch_of(transform=transform)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.enable_grad, torch.inference_mode])
def test_gradients_are_on_in_batches_where_they_are_on_around_them(mode):
    data = papers()
    data.x.requires_grad_()
    with mode():
        for batch in NeighborLoader(data, [2], batch_size=25):
            assert batch.x.requires_grad == torch.is_grad_enabled() == (mode is torch.enable_grad)


@pytest.mark.parametrize("size", [49, 51])
def test_masks_of_another_size_are_refused(size):
    with pytest.raises(InputError, match=rf"is a mask of shape \[{size}\]; expected \[50\], one"):
        NeighborLoader(papers(), [2], input_nodes=torch.ones(size, dtype=torch.bool))
    with pytest.raises(InputError, match=rf"is a mask of shape \[{size}\]; expected \[40\]"):
        NeighborLoader(library(), [2], ("paper", torch.ones(size, dtype=torch.bool)))


def test_weights_choose_the_edges():
    data = papers()
    data.weight[::2] = 0
    for batch in NeighborLoader(data, [3, 3], batch_size=10, weight_attr="weight"):
        assert batch.num_edges > 0
        assert (batch.e_id % 2 == 1).all()


def test_whose_an_attribute_is_where_there_are_as_many_nodes_as_edges():
    data = papers(nodes=50, edges=50)
    with pytest.raises(
        InputError, match=r"as many nodes as edges, .* if its name has 'edge' in it"
    ):
        NeighborLoader(data, [2], weight_attr="weight")
    data.edge_weight = (torch.arange(50) % 2).float()
    for batch in NeighborLoader(data, [2], batch_size=9, weight_attr="edge_weight"):
        assert (batch.e_id % 2 == 1).all()


def test_a_call_gives_the_batch_of_some_places():
    loader = NeighborLoader(papers(), [3, 2], input_nodes=torch.arange(20, 40))
    batch = loader(torch.tensor([1, 3]))
    assert batch.n_id[:2].tolist() == [21, 23]
    assert len(batch.graphs) == 2


@pytest.mark.parametrize(
    ("nodes", "kind", "sentence"),
    [
        (torch.tensor([3, 50]), IndexRangeError, "input_nodes: 50 in place 1 is no node"),
        (torch.tensor([-1]), IndexRangeError, "which has 50, counted from 0"),
        (torch.tensor([0.5]), ArgumentTypeError, r"input_nodes must be whole numbers"),
    ],
    ids=["above", "negative", "float"],
)
def test_input_nodes_that_cannot_be_meant_are_refused_at_once(nodes, kind, sentence):
    with pytest.raises(kind, match=sentence):
        NeighborLoader(papers(), [3], input_nodes=nodes)


def test_an_input_node_twice_is_refused_in_one_batch_and_fine_in_two_or_apart():
    twice, data = torch.tensor([3, 4, 3]), papers()
    with pytest.raises(InputError, match="input_nodes: 3 is there twice, the second time in pl"):
        list(NeighborLoader(data, [3], input_nodes=twice, batch_size=3))
    assert len(list(NeighborLoader(data, [3], input_nodes=twice, batch_size=2))) == 2
    (apart,) = NeighborLoader(data, [3], input_nodes=twice, batch_size=3, disjoint=True)
    assert apart.n_id[:3].tolist() == [3, 4, 3]
