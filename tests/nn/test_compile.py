"""Layers under torch.compile and torch.export, called with a plain edge_index; copies and pickles.

Compiling costs seconds, so each test compiles once, for any sizes, and asks many things of it.
"""

import copy
import io
import os
import pickle
import shutil

import pytest
import torch
from torch import nn
from torch._dynamo.testing import CompileCounterWithBackend
from torch.export import Dim

import gat.nn
from gat.errors import ArgumentTypeError, IndexRangeError, InputError
from gat.graph import Graph, graph_of
from gat.nn.relations import Relations
from gat.nn.rgat_conv import RGATConv
from tests.graphs import GRAPHS
from tests.nn.relational import RELATIONS, typed
from tests.nn.twins import GATS, LOOPED, NAMES, PAIRED, build, options_of

EDGE_DIM = 3
# Other numbers of nodes, of edges and of loops among them.
SIZES = ["random", "sixty_three_edges", "loops_and_duplicates", "hub"]


class Network(nn.Module):
    """One layer, or two, given edge features if they take any."""

    def __init__(self, name, depth=2, **options):
        super().__init__()
        options = {"heads": 2, "edge_dim": EDGE_DIM, **options}
        self.takes_features = "edge_dim" in options_of(name)
        self.layers = nn.ModuleList(
            build(gat.nn, name, size, 5, **options).float() for size in (6, 10)[:depth]
        )

    def forward(self, x, edge_index, edge_attr):
        rest = (edge_attr,) if self.takes_features else ()
        for layer in self.layers:
            x = layer(x, edge_index, *rest).relu()
        return x


def inputs(graph):
    edge_index, num_nodes, _ = GRAPHS[graph]
    return torch.randn(num_nodes, 6), edge_index, torch.randn(edge_index.size(1), EDGE_DIM)


def results(run, network, x, edge_index, edge_attr):
    """The output and every gradient."""
    network.zero_grad()
    x, edge_attr = x.clone().requires_grad_(), edge_attr.clone().requires_grad_()
    out = run(x, edge_index, edge_attr)
    out.square().sum().backward()
    return out, x.grad, edge_attr.grad, [p.grad for p in network.parameters()]


def cases():
    """Each layer with self-loops, if it has them, and without."""
    for name in NAMES:
        if name in LOOPED:
            yield pytest.param(name, True, id=f"{name}-loops")
        yield pytest.param(name, False, id=f"{name}-no_loops")


@pytest.mark.parametrize(("name", "loops"), list(cases()))
def test_network_compiles_once_and_in_one_piece(name, loops):
    network = Network(name, add_self_loops=loops)
    counter = CompileCounterWithBackend("aot_eager")
    run = torch.compile(network, fullgraph=True, dynamic=True, backend=counter)
    counts = []
    for graph in SIZES:
        given = inputs(graph)
        expected = results(network, network, *given)
        torch.testing.assert_close(results(run, network, *given), expected)
        counts.append(counter.frame_count)
    assert counts == counts[:1] * len(SIZES)


@pytest.mark.parametrize("name", GATS)
def test_compiled_without_saying_what_is_dynamic(name):
    """Few edges, or none, are sizes that torch.compile takes to be fixed."""
    layer = Network(name, depth=1)
    run = torch.compile(layer, fullgraph=True, backend="aot_eager")
    for graph in ("no_edges", "one_node_one_loop"):
        given = inputs(graph)
        torch.testing.assert_close(run(*given), layer(*given))


@pytest.mark.parametrize("name", NAMES)
def test_compiled_in_training_with_dropout_under_autocast(name):
    network = Network(name, depth=1, dropout=0.5)
    run = torch.compile(network, fullgraph=True, backend="aot_eager")
    given = inputs("random")
    with torch.autocast("cpu", torch.bfloat16):
        first, second = run(*given), run(*given)
        assert first.dtype == network(*given).dtype
    # The others drop nothing: AGNNConv never does, SuperGATConv is not in training.
    assert torch.equal(first, second) == (name not in PAIRED)
    first.float().sum().backward()
    for tensor in (first, second, *(p.grad for p in network.parameters())):
        assert tensor.isfinite().all()
    network.eval()
    exact = network(*given)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(run(*given).float(), exact, rtol=0.1, atol=0.1)


def test_supergat_compiled_in_training_with_the_edges_to_train_against():
    layer = gat.nn.SuperGATConv(6, 5, heads=2, neg_sample_ratio=1.0)
    run = torch.compile(layer, fullgraph=True, dynamic=True, backend="aot_eager")
    for graph in ("random", "loops_and_duplicates"):
        x, edge_index, _ = inputs(graph)
        losses = []
        for each in (run, layer):
            layer.zero_grad()
            out = each(x, edge_index, edge_index.flip(1)[:, :5])
            loss = out.square().sum() + layer.get_attention_loss()
            loss.backward()
            losses.append((loss, [p.grad for p in layer.parameters()]))
        torch.testing.assert_close(losses[0], losses[1])


def test_rgat_compiled_with_its_relations_sorted_before():
    edge_index, _, edge_type, _ = typed("random")
    layer, x = RGATConv(6, 5, num_relations=RELATIONS), torch.randn(31, 6)
    relations = Relations.of(Graph.from_edge_index(edge_index, 31), edge_type, RELATIONS)
    run = torch.compile(layer, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(run(x, edge_index, relations), layer(x, edge_index, edge_type))


@pytest.mark.parametrize("mechanism", ["across-relation", "within-relation"])
def test_rgat_network_compiles_in_one_piece_and_exports(mechanism):
    """From plain tensors: every (relation, node) pair is there, whichever occur."""

    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList(
                RGATConv(size, 5, RELATIONS, heads=2, attention_mechanism=mechanism)
                for size in (6, 10)
            )

        def forward(self, x, edge_index, edge_type):
            for layer in self.layers:
                x = layer(x, edge_index, edge_type).relu()
            return x

    network = Two().double()
    run = torch.compile(network, fullgraph=True, dynamic=True, backend="aot_eager")
    for graph in ("random", "loops_and_duplicates"):
        edge_index, _, edge_type, _ = typed(graph)
        x = torch.randn(GRAPHS[graph][1], 6).double()
        outs = run(x, edge_index, edge_type), network(x, edge_index, edge_type)
        torch.testing.assert_close(*outs)
        weights = [layer.weight for layer in network.layers]
        grads = [torch.autograd.grad(out.square().sum(), weights) for out in outs]
        torch.testing.assert_close(*grads)
        with pytest.raises(IndexRangeError):
            run(x, edge_index, edge_type + RELATIONS)
    program = torch.export.export(network, (x, edge_index, edge_type))
    torch.testing.assert_close(program.module()(x, edge_index, edge_type), outs[1])


@pytest.mark.parametrize(
    ("score", "normalizer"),
    [("additive", "topk"), ("gatv2", "entmax"), ("supergat_mx", "tanh"), ("scaled_dot", "softmax")],
)
def test_attention_conv_compiles_in_one_piece_and_exports(score, normalizer):
    options = {"heads": 2, "edge_dim": EDGE_DIM, "add_self_loops": True, "residual": True}
    layer = gat.nn.AttentionConv(6, 5, score=score, normalizer=normalizer, **options).double()
    run = torch.compile(layer, fullgraph=True, dynamic=True, backend="aot_eager")
    for graph in ("random", "loops_and_duplicates"):
        x, edge_index, edge_attr = inputs(graph)
        given = x.double(), edge_index, edge_attr.double()
        torch.testing.assert_close(results(run, layer, *given), results(layer, layer, *given))
    program = torch.export.export(layer, given)
    torch.testing.assert_close(program.module()(*given), layer(*given))


def test_han_network_compiles_in_one_piece():
    kinds = (["a", "b"], [("a", "x", "b"), ("b", "y", "a"), ("a", "z", "a")])
    first = gat.nn.HANConv({"a": 6, "b": 4}, 8, kinds, heads=2)
    network = nn.ModuleList([first, gat.nn.HANConv(8, 8, kinds, heads=2)])
    x = {"a": torch.randn(11, 6), "b": torch.randn(5, 4)}
    edges = {
        ("a", "x", "b"): GRAPHS["bipartite_wide"][0],
        ("b", "y", "a"): GRAPHS["bipartite_wide"][0].flip(0),
        ("a", "z", "a"): torch.randint(11, (2, 40)),
    }

    def forward(x, edges):
        return network[1](network[0](x, edges), edges)

    run = torch.compile(forward, fullgraph=True, backend="aot_eager")
    results = []
    for way in (run, forward):
        out = way(x, edges)
        total = sum(each.square().sum() for each in out.values())
        parameters = [p for p in network.parameters() if p.requires_grad]
        results.append((out, torch.autograd.grad(total, parameters, allow_unused=True)))
    torch.testing.assert_close(*(out for out, _ in results))
    for got, want in zip(results[0][1], results[1][1], strict=True):
        assert (got is None) == (want is None)
        if got is not None:
            torch.testing.assert_close(got, want)


def test_compiled_weights_and_their_edges():
    layer = gat.nn.GATConv(6, 5, 2, flow="target_to_source", edge_dim=EDGE_DIM)
    run = torch.compile(layer, fullgraph=True, dynamic=True, backend="aot_eager")
    for graph in ("random", "loops_and_duplicates"):
        given = inputs(graph)
        expected = layer(*given, return_attention_weights=True)
        torch.testing.assert_close(run(*given, return_attention_weights=True), expected)


@pytest.mark.filterwarnings("ignore:.*bipartite")
@pytest.mark.parametrize("loops", [True, False], ids=["loops", "no_loops"])
def test_compiled_on_a_bipartite_graph(loops):
    layer = gat.nn.GATv2Conv((6, 4), 5, 2, add_self_loops=loops)
    run = torch.compile(layer, fullgraph=True, dynamic=True, backend="aot_eager")
    for graph in ("bipartite_wide", "bipartite_tall"):
        edge_index, num_src, num_dst = GRAPHS[graph]
        x = torch.randn(num_src, 6), torch.randn(num_dst, 4)
        torch.testing.assert_close(run(x, edge_index), layer(x, edge_index))


@pytest.mark.parametrize("loops", [True, False], ids=["loops", "no_loops"])
def test_compiled_with_edges_chosen_on_the_way(loops):
    layer = gat.nn.GATConv(6, 5, 2, edge_dim=EDGE_DIM, add_self_loops=loops)

    def some(x, edge_index, edge_attr, stays):
        kept = stays.nonzero().squeeze(1)
        return layer(x, edge_index[:, kept], edge_attr[kept])

    run = torch.compile(some, fullgraph=True, backend="aot_eager")
    x, edge_index, edge_attr = inputs("random")
    for share in (0.8, 0.3):
        given = (x, edge_index, edge_attr, torch.rand(edge_index.size(1)) < share)
        torch.testing.assert_close(run(*given), some(*given))


@pytest.mark.parametrize("backend", ["reference", "blockwise"])
def test_compiled_by_other_backends(backend):
    layer = gat.nn.GATv2Conv(6, 5, 2, edge_dim=EDGE_DIM)
    with gat.use_backend(backend):
        run = torch.compile(layer, fullgraph=True, backend="aot_eager")
        given = inputs("random")
        expected = results(layer, layer, *given)
        torch.testing.assert_close(results(run, layer, *given), expected)


@pytest.mark.parametrize("loops", [True, False], ids=["loops", "no_loops"])
def test_all_of_a_traced_graph_is_the_graphs(loops):
    def parts(edge_index, values):
        size = values.size(0)
        graph = graph_of(edge_index, (size, size), self_loops=loops)
        weights = values[graph.edge_index[0]]
        return (
            graph.to_caller(weights), graph.added_loops(weights), graph.to_sorted(weights),
            graph.in_degree, graph.out_degree, graph.row, graph.col, graph.transpose.col,
            graph.by_source.rowptr, graph.transposed, graph.with_self_loops().num_edges,
        )  # fmt: skip

    run = torch.compile(parts, fullgraph=True, dynamic=True, backend="aot_eager")
    for graph in ("random", "loops_and_duplicates"):
        edge_index, size, _ = GRAPHS[graph]
        values = torch.randn(size, 2)
        torch.testing.assert_close(run(edge_index, values), parts(edge_index, values))


def test_bad_edges_are_refused_in_words_by_compiled_code_too():
    layer = gat.nn.GATConv(6, 5)
    run = torch.compile(layer, fullgraph=True, backend="aot_eager")
    x, edge_index, _ = inputs("random")
    run(x, edge_index)
    with pytest.raises(IndexRangeError, match=r"names source node 31, outside \[0, 31\)"):
        run(x, edge_index + 1)
    with pytest.raises(ArgumentTypeError, match=r"edge_index has dtype torch\.float32"):
        run(x, edge_index.float())
    with pytest.raises(InputError, match=r"it looks transposed: pass edge_index\.t\(\)"):
        run(x, edge_index.t())


def test_compiled_with_other_kinds_of_edges_around_a_graph_break():
    layer = gat.nn.GATConv(6, 5)
    x, edge_index, _ = inputs("random")
    run = torch.compile(layer, backend="aot_eager")
    matrix = torch.sparse_coo_tensor(edge_index.flip(0), torch.ones(211), (31, 31)).coalesce()
    torch.testing.assert_close(run(x, matrix), layer(x, matrix))


def test_compiled_in_inference_mode_and_trained_afterwards():
    layer = gat.nn.GATConv(6, 5)
    x, edge_index, _ = inputs("random")
    edge_index = edge_index.clone()
    run = torch.compile(layer, fullgraph=True, backend="aot_eager")
    with torch.inference_mode():
        run(x, edge_index)
        unversioned = edge_index.clone()
        run(x, unversioned)
        unversioned[0, 0] = (unversioned[0, 0] + 1) % 31
        torch.testing.assert_close(run(x, unversioned), layer(x, unversioned))
    layer(x, edge_index).sum().backward()
    run(x, edge_index).sum().backward()


@pytest.mark.skipif(
    shutil.which(os.environ.get("CXX", "g++")) is None, reason="torch.compile needs a C++ compiler"
)
def test_compiled_to_machine_code():
    layer = gat.nn.GATConv(6, 5, 2, edge_dim=EDGE_DIM)
    run = torch.compile(layer, fullgraph=True, dynamic=True)
    for graph in SIZES:
        given = inputs(graph)
        torch.testing.assert_close(results(run, layer, *given), results(layer, layer, *given))


@pytest.mark.parametrize("strict", [True, False], ids=["strict", "non_strict"])
@pytest.mark.parametrize("name", NAMES)
def test_exported_program_is_saved_and_serves_other_graphs(name, strict):
    network, buffer = Network(name).eval(), io.BytesIO()
    nodes, edges = Dim("nodes"), Dim("edges")
    shapes = ({0: nodes}, {1: edges}, {0: edges})
    program = torch.export.export(network, inputs("random"), dynamic_shapes=shapes, strict=strict)
    torch.export.save(program, buffer)
    buffer.seek(0)
    run = torch.export.load(buffer).module()
    for graph in SIZES:
        given = inputs(graph)
        torch.testing.assert_close(run(*given), network(*given))
    x, edge_index, edge_attr = inputs("random")
    with pytest.raises(IndexRangeError, match="names source node 31"):
        run(x, edge_index + 1, edge_attr)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("name", NAMES)
def test_copies_and_pickles_compute_the_same(name, when):
    network, given, buffer = Network(name), inputs("random"), io.BytesIO()
    if when == "after":
        network(*given).sum().backward()
    torch.save(network, buffer)
    buffer.seek(0)
    copies = [
        copy.deepcopy(network),
        pickle.loads(pickle.dumps(network)),
        torch.load(buffer, weights_only=False),
    ]
    for each in copies:
        assert torch.equal(each(*given), network(*given))
