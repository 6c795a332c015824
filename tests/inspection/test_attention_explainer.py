"""AttentionExplainer: each edge its own weight, whatever the layers do to the list of edges."""

import inspect

import pytest
import torch
import torch_geometric.explain as pygs
import torch_geometric.nn as pyg
from torch_geometric.nn import HeteroConv, to_hetero
from torch_geometric.utils import add_self_loops, k_hop_subgraph

import gat.nn
from gat.errors import ArgumentTypeError, IndexRangeError, InputError
from gat.graph import graph_of
from gat.inspection import AttentionExplainer
from tests.graphs import GRAPHS, SQUARE
from tests.inspection.networks import WIDTH, explainer, network

LAYERS = [
    (source, name)
    for name in ("GATConv", "GATv2Conv", "TransformerConv")
    for source in ("pyg", "gat")
    if hasattr({"pyg": pyg, "gat": gat.nn}[source], name)
]
# Those whose first layer can run on no nodes or edges in PyG too.
GRAPH_NAMES = [name for name in SQUARE if name != "no_nodes"]

layers = pytest.mark.parametrize(("source", "name"), LAYERS, ids=map("-".join, LAYERS))


def graph(name="loops_and_duplicates"):
    edge_index, num_nodes, _ = GRAPHS[name]
    return torch.randn(num_nodes, WIDTH, dtype=torch.float64), edge_index


def weights_by_hand(listed, weights, edge_index):
    """Weights [E, H] of the caller's edges, found one by one among the layer's."""
    left = list(map(tuple, listed.t().tolist()))
    rows = []
    for pair in map(tuple, edge_index.t().tolist()):
        at = left.index(pair) if pair in left else None
        rows.append(torch.zeros_like(weights[0]) if at is None else weights[at])
        if at is not None:
            left[at] = None
    return torch.stack(rows) if rows else weights.new_zeros(0, weights.size(1))


def attention(model, x, edge_index):
    """The weights of both layers of a `Network`, one [E, H] each, for the caller's edges."""
    hidden, first = model.first(x, edge_index, return_attention_weights=True)
    _, second = model.second(hidden.relu(), edge_index, return_attention_weights=True)
    return [weights_by_hand(*pair, edge_index).detach() for pair in (first, second)]


@layers
@pytest.mark.parametrize("graph_name", GRAPH_NAMES)
def test_each_edge_has_its_own_weight(source, name, graph_name):
    x, edge_index = graph(graph_name)
    model = network(source, name)
    explanation = explainer(model, AttentionExplainer())(x, edge_index)
    assert isinstance(explanation, pygs.Explanation)
    first, second = attention(model, x, edge_index)
    expected = torch.maximum(first.amax(-1), second.amax(-1))
    torch.testing.assert_close(explanation.edge_mask, expected)
    torch.testing.assert_close(explanation.prediction, model(x, edge_index))


@pytest.mark.parametrize("reduce", ["max", "min", "mean", "sum", "prod", "median"])
def test_heads_then_layers_are_reduced(reduce):
    x, edge_index = graph("random")
    model = network("gat", "GATv2Conv", heads=3)

    def apply(values):
        out = getattr(torch, reduce)(values, -1)
        return out if isinstance(out, torch.Tensor) else out[0]

    explanation = explainer(model, AttentionExplainer(reduce=reduce))(x, edge_index)
    expected = [apply(weights) for weights in attention(model, x, edge_index)]
    torch.testing.assert_close(explanation.edge_mask, apply(torch.stack(expected, -1)))


@layers
def test_a_reversed_list_is_explained_in_reverse(source, name):
    x, edge_index = graph("random")
    explain = explainer(network(source, name), AttentionExplainer())
    torch.testing.assert_close(
        explain(x, edge_index.flip(1)).edge_mask, explain(x, edge_index).edge_mask.flip(0)
    )


@layers
@pytest.mark.parametrize("reduce", ["max", "mean"])
def test_equals_pygs_on_a_graph_without_loops(source, name, reduce):
    x, edge_index = graph("random")
    edge_index = edge_index[:, edge_index[0] != edge_index[1]]
    model = network(source, name)
    ours = explainer(model, AttentionExplainer(reduce))(x, edge_index, index=3)
    theirs = explainer(model, pygs.AttentionExplainer(reduce))(x, edge_index, index=3)
    torch.testing.assert_close(ours.edge_mask, theirs.edge_mask)
    assert set(ours.keys()) == set(theirs.keys())


# Layers of ours that return their weights where PyG's do not.
OURS = {
    name: make
    for name, make in {
        "AGNNConv": lambda layer: layer(),
        "SuperGATConv": lambda layer: layer(WIDTH, 4, heads=2),
    }.items()
    if hasattr(gat.nn, name)
}


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("graph_name", ["loops_and_duplicates", "random"])
def test_layers_that_return_weights_in_ours_alone(name, graph_name):
    x, edge_index = graph(graph_name)
    layer = OURS[name](getattr(gat.nn, name)).double().eval()
    _, (listed, weights) = layer(x, edge_index, return_attention_weights=True)
    expected = weights_by_hand(listed, weights.detach().view(len(weights), -1), edge_index).amax(-1)
    torch.testing.assert_close(
        explainer(layer, AttentionExplainer())(x, edge_index).edge_mask, expected
    )


def test_edges_of_32_bits():
    x, edge_index = graph()
    explain = explainer(network("gat", "GATConv"), AttentionExplainer())
    short = explain(x, edge_index.int()).edge_mask
    assert torch.equal(short, explain(x, edge_index).edge_mask)


@pytest.mark.parametrize("source", ["pyg", "gat"])
def test_pygs_shifts_the_weights_of_a_graph_with_loops(source):
    x, edge_index = graph()
    model = network(source, "GATConv", heads=1).first
    _, weights = model(x, edge_index, return_attention_weights=True)[1]
    own = graph_of(edge_index, 3, self_loops=True).to_caller(weights).flatten()
    ours = explainer(model, AttentionExplainer())(x, edge_index).edge_mask
    assert torch.equal(ours, own)
    theirs = explainer(model, pygs.AttentionExplainer())(x, edge_index[:, :5]).edge_mask
    assert not torch.allclose(theirs, ours[:5])


def test_a_second_copy_of_a_loop_has_no_weight_and_added_loops_are_left_out():
    x, edge_index = graph()
    model = network("gat", "GATConv", heads=1).first
    mask = explainer(model, AttentionExplainer())(x, edge_index).edge_mask
    assert edge_index[:, [0, 3]].tolist() == [[2, 2], [2, 2]]
    assert mask[0] > 0
    assert mask[3] == 0
    sums = torch.zeros(3, dtype=torch.float64).index_add(0, edge_index[1], mask)
    # Node 1 has no loop of its own: what is missing from 1 is the added one's.
    assert sums[[0, 2]].tolist() == pytest.approx([1, 1])
    assert 0 < sums[1] < 1 - 1e-6


class Prepared(torch.nn.Module):
    """A network that adds loops, or sorts the edges, before its layer sees them."""

    def __init__(self, prepare, layer):
        super().__init__()
        self.prepare, self.layer = prepare, layer

    def forward(self, x, edge_index, **kwargs):
        return self.layer(x, self.prepare(edge_index), **kwargs)


def by_target(edge_index):
    return edge_index[:, torch.sort(edge_index[1], stable=True).indices]


PREPARE = {"loops_added": lambda e: add_self_loops(e, num_nodes=3)[0], "sorted": by_target}


@pytest.mark.parametrize("prepare", PREPARE.values(), ids=PREPARE)
def test_edges_are_found_by_content_where_the_model_rearranges_them(prepare):
    x, edge_index = graph()
    layer = gat.nn.GATConv(WIDTH, 4, edge_dim=1, add_self_loops=False).double()
    model = Prepared(prepare, layer)
    edge_attr = torch.randn(prepare(edge_index).size(1), 1, dtype=torch.float64)
    listed, weights = model(x, edge_index, edge_attr=edge_attr, return_attention_weights=True)[1]
    mask = explainer(model, AttentionExplainer())(x, edge_index, edge_attr=edge_attr).edge_mask
    assert torch.equal(mask, weights_by_hand(listed, weights, edge_index).flatten().detach())


@pytest.mark.parametrize(
    "prepare",
    [lambda e: e[:, ::2], lambda e: e.unique(dim=1), lambda e: e.flip(0), lambda e: (e + 1) % 3],
    ids=["sampled", "coalesced", "turned", "renumbered"],
)
def test_other_edges_are_refused(prepare):
    x, edge_index = graph()
    model = Prepared(prepare, gat.nn.GATConv(WIDTH, 4).double())
    with pytest.raises(InputError, match=r"layer \(GATConv\) attends over \d+ edges, and they are"):
        explainer(model, AttentionExplainer())(x, edge_index)
    model.layer.explain = False
    with pytest.raises(InputError, match="has no layer whose forward takes"):
        explainer(model, AttentionExplainer())(x, edge_index)


def test_nodes_of_an_index_leave_weight_only_where_messages_reach_them():
    edge_index, num_nodes = torch.tensor([[0, 1, 2, 3, 4, 5, 1], [1, 2, 3, 4, 5, 0, 1]]), 6
    x = torch.randn(num_nodes, WIDTH, dtype=torch.float64)
    explain = explainer(network("gat", "GATConv"), AttentionExplainer())
    whole, part = explain(x, edge_index).edge_mask, explain(x, edge_index, index=3).edge_mask
    visited = k_hop_subgraph(3, 2, edge_index)[3]
    assert visited.tolist() == [False, True, True, False, False, False, True]
    assert torch.equal(part, whole * visited)
    two = explain(x, edge_index, index=torch.tensor([3, 1])).edge_mask
    assert torch.equal(two, whole * k_hop_subgraph([3, 1], 2, edge_index)[3])
    with pytest.raises(IndexRangeError, match=r"index names node 6, outside \[0, 6\)"):
        explain(x, edge_index, index=6)
    of_graph = explainer(explain.model, AttentionExplainer(), task_level="graph")
    assert torch.equal(of_graph(x, edge_index, index=3).edge_mask, whole)


def test_a_layer_called_twice_is_two_hops_and_two_layers():
    class Twice(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = gat.nn.GATConv(WIDTH, WIDTH).double()

        def forward(self, x, edge_index):
            return self.layer(self.layer(x, edge_index), edge_index)

    edge_index = torch.tensor([[0, 1, 2], [1, 2, 3]])
    x = torch.randn(4, WIDTH, dtype=torch.float64)
    mask = explainer(Twice(), AttentionExplainer("sum"))(x, edge_index, index=3).edge_mask
    assert (mask > 0).tolist() == [False, True, True]
    assert mask.max() <= 2


def test_against_the_flow():
    x, edge_index = graph("random")
    model = network("gat", "GATConv", flow="target_to_source")
    explanation = explainer(model, AttentionExplainer())(x, edge_index, index=7)
    first, second = attention(model, x, edge_index)
    visited = k_hop_subgraph(7, 2, edge_index, flow="target_to_source")[3]
    expected = torch.maximum(first.amax(-1), second.amax(-1)) * visited
    torch.testing.assert_close(explanation.edge_mask, expected)


# Heterogeneous graphs

EDGES = {
    ("paper", "cites", "paper"): torch.tensor([[0, 1, 1, 2, 2, 3], [1, 1, 0, 3, 1, 3]]),
    ("author", "writes", "paper"): torch.tensor([[4, 0, 0, 2, 0], [0, 1, 1, 3, 2]]),
    ("paper", "written", "author"): torch.tensor([[0, 1, 1, 3, 2], [4, 0, 0, 2, 0]]),
}
NODES = {"paper": 4, "author": 5}


def hetero_input():
    x = {name: torch.randn(count, WIDTH, dtype=torch.float64) for name, count in NODES.items()}
    return x, dict(EDGES)


class Hetero(torch.nn.Module):
    def __init__(self, source, name):
        super().__init__()
        layer = getattr({"pyg": pyg, "gat": gat.nn}[source], name)
        loops = "add_self_loops" in inspect.signature(layer).parameters

        def convolution(width, out):
            return HeteroConv(
                {
                    kind: layer(
                        (width, width), out, heads=2,
                        **({"add_self_loops": kind[0] == kind[2]} if loops else {}),
                    )
                    for kind in EDGES
                }
            )  # fmt: skip

        self.convs = torch.nn.ModuleList([convolution(WIDTH, 3), convolution(6, 2)])

    def forward(self, x, edge_index):
        for conv in self.convs:
            x = {name: out.relu() for name, out in conv(x, edge_index).items()}
        return x["paper"]


def hetero_attention(model, x, edges):
    """Of each edge type the highest weight over heads and layers, by hand."""
    masks = {kind: torch.zeros(pair.size(1), dtype=torch.float64) for kind, pair in edges.items()}
    for conv in model.convs:
        for kind, pair in edges.items():
            ends = x[kind[0]] if kind[0] == kind[2] else (x[kind[0]], x[kind[2]])
            _, attended = conv.convs[kind](ends, pair, return_attention_weights=True)
            own = weights_by_hand(*attended, pair).amax(-1).detach()
            masks[kind] = torch.maximum(masks[kind], own)
        x = {name: out.relu() for name, out in conv(x, edges).items()}
    return masks


@layers
def test_heterogeneous_graphs_by_hetero_conv(source, name):
    x, edges = hetero_input()
    model = Hetero(source, name).double()
    explanation = explainer(model, AttentionExplainer())(x, edges)
    assert isinstance(explanation, pygs.HeteroExplanation)
    expected = hetero_attention(model, x, edges)
    torch.testing.assert_close(dict(explanation.collect("edge_mask")), expected)


@pytest.mark.parametrize("source", ["pyg", "gat"])
def test_heterogeneous_graphs_by_to_hetero(source):
    x, edges = hetero_input()
    model = network(source, "GATConv", add_self_loops=False)
    hetero = to_hetero(model, (list(NODES), list(EDGES)), debug=False).double()

    class Papers(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.hetero = hetero

        def forward(self, x, edge_index):
            return self.hetero(x, edge_index)["paper"]

    masks = explainer(Papers(), AttentionExplainer("min"))(x, edges).collect("edge_mask")
    assert list(masks) == list(EDGES)
    for kind, pair in edges.items():
        layer = getattr(hetero.first, "__".join(kind))
        _, attended = layer((x[kind[0]], x[kind[2]]), pair, return_attention_weights=True)
        # A minimum over both layers: the first one's bounds it.
        assert (masks[kind] <= attended[1].amin(-1) + 1e-12).all()
        sums = torch.zeros(NODES[kind[2]], dtype=torch.float64).index_add(0, pair[1], masks[kind])
        assert (sums <= 1 + 1e-9).all()
        assert (masks[kind] > 0).all()


def test_an_index_reaches_over_all_edge_types():
    x, edges = hetero_input()
    explain = explainer(Hetero("gat", "GATConv").double(), AttentionExplainer())
    whole = explain(x, edges).collect("edge_mask")
    part = explain(x, edges, index=3).collect("edge_mask")
    # What reaches paper 3 in two hops: papers 3 and 2, authors 2 and 0.
    reached = {
        ("paper", "cites", "paper"): [3, 5],
        ("author", "writes", "paper"): [3, 4],
        ("paper", "written", "author"): [3, 4],
    }
    for kind, numbers in reached.items():
        kept = torch.zeros_like(whole[kind])
        kept[numbers] = 1
        assert torch.equal(part[kind], whole[kind] * kept), kind


def test_edge_types_with_the_same_edges_are_told_apart():
    same = torch.tensor([[0, 1], [1, 0]])
    kinds = [("a", "to", "a"), ("a", "from", "a")]
    x = {"a": torch.randn(2, WIDTH, dtype=torch.float64)}
    conv = HeteroConv({kind: gat.nn.GATConv(WIDTH, 3) for kind in kinds}).double()

    class Model(torch.nn.Module):
        def __init__(self, conv, clone):
            super().__init__()
            self.conv, self.clone = conv, clone

        def forward(self, x, edges):
            given = {k: e.clone() for k, e in edges.items()} if self.clone else edges
            return self.conv(x, given)["a"]

    expected = {
        kind: conv.convs[kind](x["a"], same, return_attention_weights=True)[1][1][:2, 0].detach()
        for kind in kinds
    }
    for clone in (False, True):  # by the tensor given, and by the layer's name
        explain = explainer(Model(conv, clone), AttentionExplainer())
        masks = explain(x, dict.fromkeys(kinds, same)).collect("edge_mask")
        torch.testing.assert_close(dict(masks), expected)

    class Plain(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = gat.nn.GATConv(WIDTH, 3).double()

        def forward(self, x, edges):
            return self.layer(x["a"], edges[kinds[0]])

    with pytest.raises(InputError, match=r"layer \(GATConv\) attends over edges that are those"):
        explainer(Plain(), AttentionExplainer())(x, dict.fromkeys(kinds, same))


class Typed(torch.nn.Module):
    """A layer that returns its weights by edge type, after other things, as HANConv may."""

    def forward(self, x, edge_index, return_attention_weights=False):
        out = x["paper"], "other"
        weights = {
            kind: (pair.flip(1), torch.linspace(1, 2, pair.size(1)).view(-1, 1))
            for kind, pair in edge_index.items()
        }
        return (*out, weights) if return_attention_weights else out


def test_a_layer_may_tell_weights_by_edge_type():
    x, edges = hetero_input()

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = Typed()

        def forward(self, x, edge_index):
            out, other = self.layer(x, edge_index)
            assert other == "other"
            return out

    explain = explainer(Model(), AttentionExplainer())
    whole = explain(x, edges).collect("edge_mask")
    for kind, pair in edges.items():
        listed, weights = pair.flip(1), torch.linspace(1, 2, pair.size(1)).view(-1, 1)
        assert torch.equal(whole[kind], weights_by_hand(listed, weights, pair).flatten())
    # Heard three times in one call, it is one hop.
    part = explain(x, edges, index=3).collect("edge_mask")
    assert (part["author", "writes", "paper"] > 0).tolist() == [False, False, False, True, False]


# What is left as it was, and what is refused


def hooks(model):
    return [
        len(table)
        for module in model.modules()
        for table in (module._forward_hooks, module._forward_pre_hooks)
    ]


@pytest.mark.parametrize("fails", [False, True], ids=["runs", "fails"])
@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_the_model_stays_as_it_was(training, fails):
    x, edge_index = graph()
    model = network("gat", "GATConv", dropout=0.5).train(training)
    algorithm = explainer(model, AttentionExplainer()).algorithm
    before = hooks(model), torch.get_rng_state()
    target = torch.zeros(3, dtype=torch.int64)
    if fails:
        with pytest.raises(Exception, match="shape"):
            algorithm(model, x[:, :2], edge_index, target=target)
    else:
        algorithm(model, x, edge_index, target=target)
    assert hooks(model) == before[0]
    assert torch.equal(torch.get_rng_state(), before[1])
    assert all(module.training is training for module in model.modules())
    assert isinstance(model.first(x, edge_index), torch.Tensor)


@pytest.mark.parametrize("asked", [True, None, False])
@pytest.mark.parametrize("how", ["keyword", "position"])
def test_a_model_that_asks_for_weights_itself_gets_them(asked, how):
    seen = []

    class Asking(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = gat.nn.GATConv(WIDTH, 4).double()
            self.layer.register_forward_hook(lambda *args: seen.append(type(args[-1])))

        def forward(self, x, edge_index):
            if how == "keyword":
                out = self.layer(x, edge_index, return_attention_weights=asked)
            else:
                out = self.layer(x, edge_index, None, None, asked)
            return out[0] if asked else out

    x, edge_index = graph()
    mask = explainer(Asking(), AttentionExplainer())(x, edge_index).edge_mask
    assert mask.shape == (7,)
    # Hooks of the model's owner see what they see without the explainer.
    assert len(set(seen)) == 1
    assert seen[0] is (tuple if asked else torch.Tensor)


def test_a_model_without_attention_is_refused():
    x, edge_index = graph()
    model = pyg.GCNConv(WIDTH, 4).double()
    with pytest.raises(InputError, match=r"GCNConv has no layer whose forward takes return_att"):
        explainer(model, AttentionExplainer())(x, edge_index)


def test_a_layer_that_keeps_its_weights_is_refused():
    class Mute(torch.nn.Module):
        def forward(self, x, edge_index, return_attention_weights=None):
            return x

    x, edge_index = graph()
    with pytest.raises(InputError, match=r"Mute was called with .* and returned a tensor \[3, 6\]"):
        explainer(Mute(), AttentionExplainer())(x, edge_index)


def test_attention_of_a_sparse_matrix_is_refused():
    x, edge_index = graph("random")

    def sparse(edges):
        return torch.sparse_coo_tensor(edges.flip(0), torch.ones(211), (31, 31)).to_sparse_csr()

    model = Prepared(sparse, pyg.GATConv(WIDTH, 4).double())
    with pytest.raises(InputError, match=r"layout torch\.sparse_csr.*give the model an edge_index"):
        explainer(model, AttentionExplainer())(x, edge_index)
    with pytest.raises(ArgumentTypeError, match=r"edge_index is a Tensor; expected a tensor \[2"):
        explainer(model.layer, AttentionExplainer())(x, sparse(edge_index))


def test_settings_that_attention_cannot_serve_are_refused():
    model = network("gat", "GATConv")
    with pytest.raises(InputError, match="reduce is 'maximum'; expected one of 'max', 'min'"):
        AttentionExplainer("maximum")
    options = {"model": model, "model_config": {"mode": "regression", "task_level": "node"}}
    with pytest.raises(InputError, match=r"explanation_type is 'phenomenon'.*expected 'model'"):
        pygs.Explainer(
            algorithm=AttentionExplainer(), explanation_type="phenomenon",
            edge_mask_type="object", **options,
        )  # fmt: skip
    with pytest.raises(InputError, match="node_mask_type is 'attributes'; attention weighs edges"):
        pygs.Explainer(
            algorithm=AttentionExplainer(), explanation_type="model", node_mask_type="attributes",
            edge_mask_type="object", **options,
        )  # fmt: skip


def test_a_mask_of_other_nodes_is_refused():
    x, edge_index = graph()
    explain = explainer(network("gat", "GATConv"), AttentionExplainer())
    with pytest.raises(InputError, match=f"mask of 1 nodes; expected {x.size(0)}"):
        explain(x, edge_index, index=torch.tensor([True]))
