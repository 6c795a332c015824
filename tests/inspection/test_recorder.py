"""record_attention: whose weight is whose, over every layer, and that the model does not notice."""

import copy
import warnings

import pytest
import torch
import torch_geometric.nn as pyg
from torch_geometric import EdgeIndex

import gat
from gat.errors import ArgumentTypeError, IndexRangeError, InputError
from tests.graphs import GRAPHS, SQUARE
from tests.inspection.networks import WIDTH, network

# Every layer that can be recorded on one graph: (library, name, heads as they are recorded).
LAYERS = [
    *[(pyg, name) for name in ("GATConv", "GATv2Conv", "TransformerConv", "SuperGATConv")],
    *[(pyg, name) for name in ("AGNNConv", "RGATConv", "FAConv")],
    *[(gat.nn, name) for name in ("GATConv", "GATv2Conv", "TransformerConv", "SuperGATConv")],
    *[(gat.nn, name) for name in ("AGNNConv", "RGATConv", "AttentionConv")],
]


def layers(*without):
    """Parametrise over all layers but those named, or named with their library."""
    chosen = [
        pytest.param(library, name, id=f"{library.__name__.split('.')[0]}-{name}")
        for library, name in LAYERS
        if name not in without and (library, name) not in without
    ]
    return pytest.mark.parametrize(("library", "name"), chosen)


class Caller(torch.nn.Module):
    """One layer called as its kind is called, in a model."""

    def __init__(self, layer):
        super().__init__()
        self.conv = layer

    def forward(self, x, edge_index):
        name = type(self.conv).__name__
        if name == "RGATConv":
            return self.conv(x, edge_index, torch.arange(edge_index.size(1)) % 3)
        if name == "FAConv":
            return self.conv(x, x, edge_index)
        return self.conv(x, edge_index)


def caller(library, name, **options):
    torch.manual_seed(5)
    if name == "AGNNConv":
        layer = library.AGNNConv(**options)
    elif name == "FAConv":
        layer = library.FAConv(WIDTH, **options)
    elif name == "RGATConv":
        layer = library.RGATConv(WIDTH, 5, num_relations=3, heads=2, **options)
        torch.nn.init.normal_(layer.l2)
    else:
        layer = getattr(library, name)(WIDTH, 5, heads=2, **options)
    return Caller(layer.double()).eval()


def inputs(graph):
    edge_index, num_src, _ = GRAPHS[graph]
    torch.manual_seed(6)
    return torch.randn(num_src, WIDTH, dtype=torch.float64), edge_index


def truth(model, x, edge_index):
    """(weights of the caller's edges, of added loops) by PyG's documented convention: layers that
    add loops take out those that are there, and append one for each node."""
    layer = model.conv
    name = type(layer).__name__
    mine = copy.deepcopy(model)
    if name in ("SuperGATConv", "AGNNConv"):
        gat.accelerate(mine)
    ask = {"return_attention_weights": True}
    arguments = {"RGATConv": (torch.arange(edge_index.size(1)) % 3,)}.get(name, ())
    arguments = (x, x, edge_index) if name == "FAConv" else (x, edge_index, *arguments)
    _, (edges, weights) = mine.conv(*arguments, **ask)
    weights = weights.detach()
    weights = weights.unsqueeze(1) if weights.dim() == 1 else weights
    if edges.size(1) == edge_index.size(1) and torch.equal(edges, edge_index):
        return weights, weights.new_zeros(x.size(0), weights.size(1))
    own = weights.new_zeros(edge_index.size(1), weights.size(1))
    loops = weights[edges.size(1) - x.size(0) :].clone()
    kept, first = 0, set()
    for number, (j, i) in enumerate(edge_index.t().tolist()):
        if j != i:
            own[number] = weights[kept]
            kept += 1
        elif i not in first:
            first.add(i)
            own[number], loops[i] = loops[i].clone(), 0
    return own, loops


@pytest.mark.parametrize("graph", SQUARE)
@layers()
def test_weights_stand_in_the_callers_edge_order(library, name, graph):
    x, edge_index = inputs(graph)
    model = caller(library, name)
    plain = model(x, edge_index)
    with gat.record_attention(model) as attention:
        out = model(x, edge_index)
    record = attention["conv"]
    weights, loops = truth(model, x, edge_index)
    torch.testing.assert_close(record.weights, weights, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(record.loops, loops, rtol=1e-10, atol=1e-12)
    assert torch.equal(record.edge_index, edge_index)
    assert (record.num_src, record.num_dst) == (x.size(0),) * 2
    assert (record.layer, record.layer_type, record.when) == ("conv", name, "before_dropout")
    assert torch.equal(out, plain)


@pytest.mark.parametrize("when", ["before_dropout", "after_dropout"])
@layers("AGNNConv")
def test_training_goes_on_as_if_nobody_listened(library, name, when):
    x, edge_index = inputs("random")
    model = caller(library, name, dropout=0.5).train()
    results = []
    for listens in (False, True):
        run = copy.deepcopy(model)
        torch.manual_seed(8)
        if listens:
            with gat.record_attention(run, when) as attention:
                out = run(x, edge_index)
        else:
            out = run(x, edge_index)
        out.square().sum().backward()
        results.append((out, torch.rand(3), [p.grad for p in run.parameters()]))
        assert run.training
        assert run.conv.training
        assert not run.conv._forward_hooks
        assert not run.conv._forward_pre_hooks
        assert "_recorded" not in vars(run.conv)
    (out, draws, grads), (heard, same_draws, same_grads) = results
    assert torch.equal(heard, out)
    assert torch.equal(draws, same_draws)
    for grad, same in zip(grads, same_grads, strict=True):
        torch.testing.assert_close(same, grad, rtol=1e-10, atol=1e-12)
    before, loops = truth(copy.deepcopy(model).eval(), x, edge_index)
    record = attention["conv"]
    if when == "before_dropout":
        torch.testing.assert_close(record.weights, before, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(record.loops, loops, rtol=1e-10, atol=1e-12)
        return
    kept = record.weights != 0
    torch.testing.assert_close(record.weights[kept], 2 * before[kept], rtol=1e-10, atol=1e-12)
    assert 0.35 < kept[before != 0].double().mean() < 0.65


# FAConv's and RGATConv's outputs are not their weights times linear values alone.
@layers("AGNNConv", "FAConv", "RGATConv")
def test_dropped_weights_are_those_the_output_was_summed_by(library, name):
    """Of values that are 1 the output is the sum of the weights used."""
    x, edge_index = inputs("random")
    model = caller(library, name, dropout=0.5).train()
    run = copy.deepcopy(model)
    torch.manual_seed(8)
    with gat.record_attention(run, "after_dropout") as attention:
        out = run(x, edge_index).detach()
    record = attention["conv"]
    value = _values(model.conv, x)
    summed = torch.zeros(x.size(0), *value.shape[1:], dtype=x.dtype)
    weights = record.weights.unsqueeze(-1) * value[record.source]
    summed.index_add_(0, record.target, weights)
    summed += record.loops.unsqueeze(-1) * value
    shift = out - summed.flatten(1)
    if name == "TransformerConv":
        shift = shift - model.conv.lin_skip(x).detach()
    torch.testing.assert_close(shift, shift[:1].expand_as(shift), rtol=1e-9, atol=1e-9)


def _values(layer, x):
    """What a layer sums, [N, H, C]."""
    names = ("lin", "lin_l", "lin_value", "lin_key")
    lin = next(getattr(layer, name) for name in names if getattr(layer, name, None) is not None)
    return lin(x).view(-1, 2, 5).detach()


@pytest.mark.parametrize("asked", [True, False])
@layers((pyg, "SuperGATConv"), (pyg, "AGNNConv"))
def test_a_caller_who_asks_for_weights_gets_them_as_ever(library, name, asked):
    x, edge_index = inputs("loops_and_duplicates")
    model = caller(library, name)
    arguments = {
        "RGATConv": (x, edge_index, torch.arange(7) % 3),
        "FAConv": (x, x, edge_index),
    }.get(name, (x, edge_index))
    plain = model.conv(*arguments, return_attention_weights=asked)
    with gat.record_attention(model) as attention:
        result = model.conv(*arguments, return_attention_weights=asked)
    assert type(result) is type(plain)
    if isinstance(plain, tuple):
        torch.testing.assert_close(result[0], plain[0])
        torch.testing.assert_close(result[1][0], plain[1][0])
        torch.testing.assert_close(result[1][1], plain[1][1])
    torch.testing.assert_close(attention["conv"].weights, truth(model, x, edge_index)[0])


@pytest.mark.parametrize("source", ["pyg", "gat"])
def test_layers_are_recorded_in_order_under_their_names(source):
    model = network(source, "GATConv")
    x, edge_index = inputs("random")
    with gat.record_attention(model) as attention:
        model(x, edge_index)
    assert list(attention) == ["first", "second"]
    assert [record.num_heads for record in attention.values()] == [2, 1]
    assert repr(attention["first"]) == (
        "AttentionRecord('first', GATConv, 211 edges x 2 heads, before_dropout)"
    )


@pytest.mark.parametrize(("source", "way"), [("pyg", "module"), ("gat", "in_place")])
def test_a_compiled_model_is_recorded(source, way):
    model = network(source, "GATConv")
    x, edge_index = inputs("random")
    with gat.record_attention(model) as plain:
        expected = model(x, edge_index)
    compiled = model
    if way == "module":
        compiled = torch.compile(model, backend="eager")
    else:
        model.compile(backend="eager")
    compiled(x, edge_index)
    with gat.record_attention(compiled, layers=["first", "second"]) as attention:
        out = compiled(x, edge_index)
    torch.testing.assert_close(out, expected)
    for name in ("first", "second"):
        torch.testing.assert_close(attention[name].weights, plain[name].weights)
    torch.testing.assert_close(compiled(x, edge_index), expected)


@pytest.mark.parametrize("form", ["graph", "looped_graph", "csr", "coo", "edge_index_class"])
def test_edges_may_come_in_any_form(form):
    x, edge_index = inputs("sixty_three_edges")
    edge_index = torch.unique(edge_index, dim=1)[:, torch.randperm(48)]
    num_nodes = x.size(0)
    model = caller(gat.nn, "GATConv")
    graph = gat.Graph.from_edge_index(edge_index, num_nodes)
    matrix = torch.sparse_coo_tensor(
        edge_index.flip(0), torch.ones(edge_index.size(1)), (num_nodes,) * 2
    ).coalesce()
    given = {
        "graph": graph,
        "looped_graph": graph.with_self_loops(),
        "csr": matrix.to_sparse_csr(),
        "coo": matrix,
        "edge_index_class": EdgeIndex(edge_index),
    }[form]
    with gat.record_attention(model) as attention:
        model(x, given)
    record = attention["conv"]
    with gat.record_attention(model) as plain:
        model(x, edge_index)
    mine, theirs = (by_ends(one) for one in (record, plain["conv"]))
    assert mine.keys() == theirs.keys()
    for ends, weights in theirs.items():
        torch.testing.assert_close(mine[ends], weights)
    if form == "looped_graph":
        # The caller passed the loops: they are edges like others.
        assert torch.equal(record.edge_index, given.edge_index)
        assert not record.loops.any()


def by_ends(record):
    """Weights by (source, target), added loops among them."""
    ends = zip(record.source.tolist(), record.target.tolist(), strict=True)
    found = dict(zip(ends, record.weights, strict=True))
    return found | {(i, i): row for i, row in enumerate(record.loops) if row.any()}


@pytest.mark.parametrize("library", [pyg, gat.nn], ids=["pyg", "gat"])
@pytest.mark.parametrize("name", ["GATConv", "GATv2Conv", "TransformerConv"])
@pytest.mark.parametrize("graph", ["bipartite_wide", "bipartite_tall"])
def test_bipartite(library, name, graph):
    edge_index, num_src, num_dst = GRAPHS[graph]
    options = {} if name == "TransformerConv" else {"add_self_loops": False}
    layer = getattr(library, name)((WIDTH, WIDTH), 5, heads=3, **options).double()
    x = torch.randn(num_src, WIDTH).double(), torch.randn(num_dst, WIDTH).double()
    with gat.record_attention(layer) as attention:
        layer(x, edge_index)
    record = attention[name]
    _, (_, weights) = layer(x, edge_index, return_attention_weights=True)
    torch.testing.assert_close(record.weights, weights.detach())
    assert (record.num_src, record.num_dst) == (num_src, num_dst)
    assert not record.is_loop.any()
    assert record.loops.shape == (num_dst, 3)


@pytest.mark.parametrize("library", [pyg, gat.nn], ids=["pyg", "gat"])
def test_loops_added_to_a_bipartite_graph_are_told_apart(library):
    edge_index, num_src, num_dst = GRAPHS["bipartite_wide"]
    layer = library.GATConv((WIDTH, WIDTH), 5, heads=2).double()
    x = torch.randn(num_src, WIDTH).double(), torch.randn(num_dst, WIDTH).double()
    with warnings.catch_warnings(), gat.record_attention(layer) as attention:
        warnings.simplefilter("ignore")  # our layer warns that such loops may be none
        layer(x, edge_index)
    record = attention["GATConv"]
    torch.testing.assert_close(record.sums, torch.ones(num_dst, 2).double())
    passed = {(i, i) for i in range(num_dst)} & set(map(tuple, edge_index.t().tolist()))
    assert {i for i, row in enumerate(record.loops) if row.any()} == set(range(num_dst)) - {
        i for i, _ in passed
    }


@pytest.mark.parametrize("library", [pyg, gat.nn], ids=["pyg", "gat"])
def test_the_other_flow(library):
    x, edge_index = inputs("random")
    model = caller(library, "GATConv", flow="target_to_source")
    with gat.record_attention(model) as attention:
        model(x, edge_index)
    record = attention["conv"]
    assert torch.equal(record.target, edge_index[0])
    torch.testing.assert_close(record.sums, torch.ones(31, 2).double())
    straight = caller(library, "GATConv")
    with gat.record_attention(straight) as other:
        straight(x, edge_index.flip(0))
    torch.testing.assert_close(record.weights, other["conv"].weights)


def test_the_record_is_of_the_last_pass():
    model = network("gat", "GATConv")
    x, edge_index = inputs("random")
    with gat.record_attention(model) as attention:
        model(x, edge_index)
        first = attention["first"].weights
        model(-x, edge_index)
    assert list(attention) == ["first", "second"]
    assert not torch.equal(attention["first"].weights, first)


def test_a_layer_that_runs_twice_has_two_records():
    class Twice(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = gat.nn.GATConv(WIDTH, WIDTH).double()

        def forward(self, x, edge_index):
            return self.conv(self.conv(x, edge_index), edge_index)

    x, edge_index = inputs("random")
    model = Twice()
    with gat.record_attention(model) as attention:
        model(x, edge_index)
    assert list(attention) == ["conv", "conv#2"]
    with gat.record_attention(model) as again:
        model.conv(model.conv(x, edge_index).detach(), edge_index)
    torch.testing.assert_close(again["conv"].weights, attention["conv#2"].weights)


def test_heads_layers_and_nodes_restrict_what_is_kept():
    model = network("gat", "GATConv")
    x, edge_index = inputs("random")
    with gat.record_attention(model) as whole:
        model(x, edge_index)
    with gat.record_attention(
        model, layers=["first"], heads={"first": [1]}, nodes=[3, 7]
    ) as attention:
        model(x, edge_index)
    assert list(attention) == ["first"]
    record, full = attention["first"], whole["first"]
    rows = ((edge_index[1] == 3) | (edge_index[1] == 7)).nonzero().squeeze(1)
    assert torch.equal(record.edge_id, rows)
    assert torch.equal(record.weights, full.weights[rows][:, [1]])
    assert record.heads == (1,)
    assert record.seen.nonzero().squeeze(1).tolist() == [3, 7]
    assert torch.equal(record.loops[[3, 7]], full.loops[[3, 7]][:, [1]])
    assert not record.loops[[0, 1, 2]].any()
    with gat.record_attention(model, heads=[1, 0]) as attention:
        model(x, edge_index)
    assert attention["first"].heads == (1, 0)
    assert attention["second"].heads == (0,)
    assert torch.equal(attention["first"].weights, full.weights[:, [1, 0]])


def test_refusals_teach():
    model = network("gat", "GATConv")
    x, edge_index = inputs("random")
    with pytest.raises(InputError, match="when is 'now'; expected 'before_dropout' or"):
        gat.record_attention(model, "now").__enter__()
    with pytest.raises(InputError, match="no attention layer 'third'; it has first, second"):
        gat.record_attention(model, layers=["third"]).__enter__()
    with pytest.raises(ArgumentTypeError, match=r"expected a list of names: \['first'\]"):
        gat.record_attention(model, layers="first").__enter__()
    with pytest.raises(InputError, match="Linear has no attention layer; expected at least one"):
        gat.record_attention(torch.nn.Linear(2, 2)).__enter__()
    with (
        pytest.raises(InputError, match="none of the recorded layers ran inside the block: first"),
        gat.record_attention(model),
    ):
        pass
    two_heads = r"heads names \[2\] for first, which has 2"
    with pytest.raises(InputError, match=two_heads), gat.record_attention(model, heads=[2]):
        model(x, edge_index)
    outside = r"nodes names a node outside \[0, 31\)"
    with pytest.raises(InputError, match=outside), gat.record_attention(model, nodes=[31]):
        model(x, edge_index)
    assert not model.first._forward_hooks
    with gat.record_attention(model) as attention:
        model(x, edge_index)
    with pytest.raises(
        KeyError, match="there is no record of 'third'; recorded: 'first', 'second'"
    ):
        attention["third"]
    with pytest.raises(IndexRangeError, match="no record of head 5; recorded are heads 0, 1"):
        attention["first"].head(5)
    with pytest.raises(IndexRangeError, match=r"node is 31; expected a node in \[0, 31\)"):
        attention["first"].neighbours(31)


@pytest.mark.parametrize("library", [pyg, gat.nn], ids=["pyg", "gat"])
@pytest.mark.parametrize("name", ["GATConv", "SuperGATConv", "AGNNConv"])
def test_a_layer_that_raises_leaves_nothing_behind(library, name):
    model = caller(library, name)
    x, edge_index = inputs("random")
    broken = {"AGNNConv": None}.get(name, x[:, :2])
    with pytest.raises((RuntimeError, AttributeError, TypeError)), gat.record_attention(model):
        model(broken, edge_index)
    assert not model.conv._forward_hooks
    assert not model.conv._propagate_forward_pre_hooks
    assert "_recorded" not in vars(model.conv)
    # And no mode that watches dropout is left on.
    assert not torch.overrides._get_current_function_mode_stack()
    assert model(x, edge_index).isfinite().all()


def test_a_layer_that_attends_elsewhere_is_refused():
    class Sampling(pyg.GATConv):
        def forward(self, x, edge_index, return_attention_weights=None):
            return super().forward(
                x, edge_index[:, ::2], return_attention_weights=return_attention_weights
            )

    x, edge_index = inputs("random")
    model = Caller(Sampling(WIDTH, 5).double())
    with (
        pytest.raises(InputError, match=r"conv \(Sampling\) attends over .* edges, and they are"),
        gat.record_attention(model),
    ):
        model(x, edge_index)


def test_neighbours_come_most_attended_first():
    x, edge_index = inputs("loops_and_duplicates")
    model = caller(gat.nn, "GATConv")
    with gat.record_attention(model) as attention:
        model(x, edge_index)
    record = attention["conv"]
    found = record.neighbours(1)
    means = [float(one.weights.mean()) for one in found]
    assert means == sorted(means, reverse=True)
    assert sum(means) == pytest.approx(1)
    assert {one.edge for one in found} == {1, 2, 5, None}
    assert {one.node for one in found} == {0, 2, 1}


def test_gumbel_noise_is_recorded_as_it_was_drawn():
    x, edge_index = inputs("random")
    layer = gat.nn.AttentionConv(WIDTH, 5, heads=2, normalizer="gumbel", dropout=0.5).double()
    layer.train()
    records = []
    for when in ("before_dropout", "after_dropout"):
        torch.manual_seed(2)
        with gat.record_attention(layer, when) as attention:
            layer(x, edge_index)
        records.append(attention["AttentionConv"].weights)
    before, after = records
    kept = after != 0
    torch.testing.assert_close(after[kept], 2 * before[kept])
