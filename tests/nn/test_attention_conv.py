"""`AttentionConv`: any score with any normaliser, against the drop-ins and against itself."""

import itertools

import pytest
import torch
import torch_geometric.nn as pyg
from torch_geometric.explain import Explainer, GNNExplainer
from torch_geometric.explain.algorithm.utils import clear_masks, set_masks

import gat.nn
from gat.errors import ArgumentTypeError, InputError
from gat.graph import Graph
from gat.nn import AttentionConv
from gat.nn.normalizers import NORMALIZERS, Gumbel
from gat.nn.scores import SCORES
from tests.graphs import GRAPHS
from tests.nn.twins import EDGE_DIM, features

# Monotonic attention is for sentences, not for any graph: tests/nn/test_monotonic.py.
ANYWHERE = [name for name in NORMALIZERS.names() if name != "monotonic"]
PAIRS = list(itertools.product(SCORES.names(), ANYWHERE))
SUM_TO_ONE = set(ANYWHERE) - {"sigmoid", "tanh"}
WITH_HIDDEN = ["gatv2", "mlp", "normed_mlp"]


def layer_of(*args, **kwargs):
    """A layer in float64 whose biases are not zero."""
    layer = AttentionConv(*args, **kwargs).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return layer


@pytest.mark.parametrize(("score", "normalizer"), PAIRS)
def test_every_pair_has_the_gradients_of_its_output(score, normalizer):
    edge_index = torch.tensor([[0, 1, 2, 2, 3, 0, 1], [1, 1, 1, 0, 0, 2, 1]])
    layer = layer_of(3, 2, 2, score=score, normalizer=normalizer, edge_dim=2).eval()
    names = [name for name, _ in layer.named_parameters()]

    def run(x, edge_attr, *parameters):
        given = dict(zip(names, parameters, strict=True))
        return torch.func.functional_call(layer, given, (x, edge_index, edge_attr))

    inputs = [torch.randn(4, 3).double(), torch.randn(7, 2).double(), *layer.parameters()]
    inputs = [tensor.detach().requires_grad_() for tensor in inputs]
    assert torch.autograd.gradcheck(run, inputs, fast_mode=True)


@pytest.mark.parametrize(("score", "normalizer"), PAIRS)
def test_every_pair_on_isolated_nodes_and_a_hub(score, normalizer):
    hub, count, _ = GRAPHS["hub"]
    edge_index = torch.cat([hub, torch.tensor([[1, 2, 2], [3, 3, 3]])], dim=1)
    layer = AttentionConv(6, 4, 3, score=score, normalizer=normalizer)
    x = torch.randn(count, 6, requires_grad=True)
    out, (_, weights) = layer(x, edge_index, return_attention_weights=True)
    sums = torch.zeros(count, 3).index_add(0, edge_index[1], weights)
    has_edges = torch.zeros(count, dtype=torch.bool).index_fill(0, edge_index[1], True)
    assert (sums[~has_edges] == 0).all()
    assert (out[~has_edges] == layer.ending.bias).all()
    if normalizer in SUM_TO_ONE:
        torch.testing.assert_close(sums[has_edges], torch.ones_like(sums[has_edges]))
    if normalizer != "tanh":
        assert (weights >= 0).all()
    assert (weights.abs() <= 1).all()
    out.square().sum().backward()
    for tensor in (out, x.grad, *(p.grad for p in layer.parameters() if p.grad is not None)):
        assert torch.isfinite(tensor).all()


@pytest.mark.parametrize("graph", ["no_edges", "no_nodes", "one_node_one_loop", "bipartite_wide"])
@pytest.mark.parametrize("score", SCORES.names())
def test_awkward_graphs(score, graph):
    edge_index, x, edge_attr, num_dst = features(graph)
    layer = layer_of((6, 6), 5, 2, score=score, edge_dim=EDGE_DIM)
    out = layer((x, torch.randn(num_dst, 6).double()), edge_index, edge_attr)
    assert out.shape == (num_dst, 10)
    assert torch.isfinite(out).all()


@pytest.mark.parametrize("score", SCORES.names())
def test_the_fused_way_is_the_steps(score):
    """Softmax by the fused operator, and the same weights by scores, softmax and sum."""
    edge_index, x, edge_attr, _ = features("random")
    layer = layer_of(6, 5, 2, score=score, edge_dim=EDGE_DIM, add_self_loops=True)
    out, (edges, weights) = layer(x, edge_index, edge_attr, return_attention_weights=True)
    graph = Graph.from_edge_index(edges, 31)
    scores = layer.scores(x, edge_index, edge_attr)
    torch.testing.assert_close(gat.ops.segment_softmax(graph, scores), weights)
    torch.testing.assert_close(layer(x, edge_index, edge_attr), out)


@pytest.mark.parametrize("score", SCORES.names())
def test_parameters_are_drawn_at_once_and_by_reset(score):
    options = {"score": score, "edge_dim": 3, "residual": True, "gate": "residual"}
    torch.manual_seed(3)
    layer = AttentionConv(6, 5, 2, normalizer="entmax", **options)
    drawn = [parameter.clone() for parameter in layer.parameters()]
    assert (layer.ending.bias == 0).all()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.fill_(torch.nan)
    layer.reset_parameters()
    for before, after in zip(drawn, layer.parameters(), strict=True):
        assert torch.isfinite(after).all()
        torch.testing.assert_close(after.abs().max(), before.abs().max(), rtol=1, atol=0)


@pytest.mark.parametrize("residual", [False, "linear"])
@pytest.mark.parametrize("concat", [True, False], ids=["concat", "mean"])
def test_additive_is_gat_conv(concat, residual):
    edge_index, x, edge_attr, _ = features("random")
    theirs = pyg.GATConv(6, 5, 2, concat, residual=bool(residual), edge_dim=EDGE_DIM).double()
    ours = layer_of(
        6, 5, 2, concat, edge_dim=EDGE_DIM, edge_in=("score",), residual=residual,
        add_self_loops=True,
    )  # fmt: skip
    copied = {
        "lin_key.weight": theirs.lin.weight,
        "lin_edge.weight": theirs.lin_edge.weight,
        "ending.bias": theirs.bias,
        **{
            f"score.{name}": getattr(theirs, name)[0] for name in ("att_src", "att_dst", "att_edge")
        },
    }
    if residual:
        copied["ending.lin_residual.weight"] = theirs.res.weight
    ours.load_state_dict(copied)
    torch.testing.assert_close(ours(x, edge_index, edge_attr), theirs(x, edge_index, edge_attr))


def test_gatv2_is_gatv2_conv_on_a_bipartite_graph():
    edge_index, x, edge_attr, num_dst = features("bipartite_wide")
    theirs = pyg.GATv2Conv((6, 4), 5, 2, edge_dim=EDGE_DIM, add_self_loops=False).double()
    ours = layer_of((6, 4), 5, 2, score="gatv2", edge_dim=EDGE_DIM, edge_in="score",
                    projection_bias=True)  # fmt: skip
    ours.load_state_dict(
        {
            "score.att": theirs.att[0],
            "lin_key.weight": theirs.lin_l.weight,
            "lin_key.bias": theirs.lin_l.bias,
            "lin_query.weight": theirs.lin_r.weight,
            "lin_query.bias": theirs.lin_r.bias,
            "lin_edge.weight": theirs.lin_edge.weight,
            "ending.bias": theirs.bias,
        }
    )
    pair = (x, torch.randn(num_dst, 4).double())
    torch.testing.assert_close(
        ours(pair, edge_index, edge_attr), theirs(pair, edge_index, edge_attr)
    )


@pytest.mark.parametrize("gate", [None, "residual"])
def test_scaled_dot_is_transformer_conv(gate):
    edge_index, x, edge_attr, _ = features("random")
    theirs = pyg.TransformerConv(6, 5, 2, edge_dim=EDGE_DIM, beta=gate is not None, bias=False)
    ours = layer_of(6, 5, 2, score="scaled_dot", edge_dim=EDGE_DIM, residual="linear", gate=gate,
                    bias=False)  # fmt: skip
    names = {"key": "lin_key", "query": "lin_query", "value": "lin_value", "edge": "lin_edge"}
    copied = {f"{ours}.weight": getattr(theirs, f"lin_{name}").weight
              for name, ours in names.items()}  # fmt: skip
    copied["ending.lin_residual.weight"] = theirs.lin_skip.weight
    if gate:
        copied["ending.lin_beta.weight"] = theirs.lin_beta.weight
    ours.load_state_dict(copied)
    expected = theirs.double()(x, edge_index, edge_attr)
    torch.testing.assert_close(ours(x, edge_index, edge_attr), expected)


@pytest.mark.parametrize("normalizer", ["softmax", "entmax15", "sigmoid"])
@pytest.mark.parametrize("score", SCORES.names())
def test_a_masked_edge_is_a_missing_edge(score, normalizer):
    edge_index, x, edge_attr, _ = features("random")
    layer = layer_of(6, 5, 2, score=score, normalizer=normalizer, edge_dim=EDGE_DIM)
    mask = torch.rand(edge_index.size(1)) < 0.5
    out, (_, weights) = layer(x, edge_index, edge_attr, mask=mask, return_attention_weights=True)
    torch.testing.assert_close(out, layer(x, edge_index[:, mask], edge_attr[mask]))
    assert (weights[~mask] == 0).all()


def test_a_bias_on_the_scores_moves_the_weights_of_its_head():
    edge_index, x, _, _ = features("random")
    layer = layer_of(6, 5, 2, score="dot", add_self_loops=True)
    bias = torch.randn(edge_index.size(1), 2).double()
    _, (edges, plain) = layer(x, edge_index, return_attention_weights=True)
    _, (_, moved) = layer(x, edge_index, score_bias=bias, return_attention_weights=True)
    loops = torch.zeros(31, 2).double()
    for e in reversed((edge_index[0] == edge_index[1]).nonzero().squeeze(1).tolist()):
        loops[edge_index[0, e]] = bias[e]  # the first of a node's own loops stands for them
    listed = torch.cat([bias[edge_index[0] != edge_index[1]], loops])
    expected = plain * listed.exp()
    expected = expected / torch.zeros(31, 2).double().index_add(0, edges[1], expected)[edges[1]]
    torch.testing.assert_close(moved, expected)


def test_masks_may_differ_by_head_and_come_with_a_bias():
    edge_index, x, _, _ = features("random")
    layer = layer_of(6, 5, 2)
    mask = torch.rand(edge_index.size(1), 2) < 0.5
    bias = torch.randn(edge_index.size(1)).double()
    out, (_, weights) = layer(
        x, edge_index, mask=mask, score_bias=bias, return_attention_weights=True
    )
    assert ((weights == 0) == ~mask).all()
    assert torch.isfinite(out).all()


def test_edge_features_in_the_value_are_summed_by_the_weights():
    edge_index, x, edge_attr, _ = features("random")
    layer = layer_of(6, 5, 2, edge_dim=EDGE_DIM, edge_in=("value",), bias=False)
    out, (_, weights) = layer(x, edge_index, edge_attr, return_attention_weights=True)
    value = (x @ layer.lin_key.weight.t())[edge_index[0]] + edge_attr @ layer.lin_edge.weight.t()
    message = weights.unsqueeze(-1) * value.view(-1, 2, 5)
    expected = torch.zeros(31, 2, 5).double().index_add(0, edge_index[1], message)
    torch.testing.assert_close(out, expected.flatten(1))


@pytest.mark.parametrize("score", WITH_HIDDEN)
def test_updated_edge_features_are_the_hidden_layer_in_the_callers_order(score):
    edge_index, x, edge_attr, _ = features("random")
    layer = layer_of(6, 5, 2, score=score, edge_dim=EDGE_DIM, update_edges=True,
                     add_self_loops=True)  # fmt: skip
    _, edges = layer(x, edge_index, edge_attr)
    assert edges.shape == (edge_index.size(1), 10)
    query, key = (x @ lin.weight.t() for lin in (layer.lin_query, layer.lin_key))
    if score == "normed_mlp":
        query = query + layer.score.b.flatten()
    total = query[edge_index[1]] + key[edge_index[0]] + edge_attr @ layer.lin_edge.weight.t()
    hidden = torch.tanh(total) if score != "gatv2" else torch.nn.functional.leaky_relu(total, 0.2)
    torch.testing.assert_close(edges, hidden)
    following = layer_of(10, 5, 2, edge_dim=10)
    assert following(torch.randn(31, 10).double(), edge_index, edges).shape == (31, 10)


def test_queries_keys_and_values_that_come_projected():
    edge_index, x, _, num_dst = features("bipartite_wide")
    layer = layer_of((6, 4), 5, 2, score="scaled_dot")
    x_dst = torch.randn(num_dst, 4).double()
    key, value = ((x @ lin.weight.t()).view(-1, 2, 5) for lin in (layer.lin_key, layer.lin_value))
    query = (x_dst @ layer.lin_query.weight.t()).view(-1, 2, 5)
    torch.testing.assert_close(
        layer.attend(query, key, value, edge_index), layer((x, x_dst), edge_index)
    )
    with pytest.raises(InputError, match=r"key has shape \[11, 10\]; expected \[nodes, heads"):
        layer.attend(query, key.flatten(1), value, edge_index)
    with pytest.raises(InputError, match="make the layer without residual and gate"):
        layer_of(6, 5, 2, residual=True).attend(key, key, value, edge_index)


@pytest.mark.parametrize("normalizer", [n for n in ANYWHERE if n != "gumbel"])
@pytest.mark.parametrize("score", SCORES.names())
def test_a_batch_is_separate_calls(score, normalizer):
    edge_index, x, edge_attr, _ = features("sixty_three_edges")
    layer = layer_of(6, 5, 2, score=score, normalizer=normalizer, edge_dim=EDGE_DIM,
                     residual="linear", gate="heads")  # fmt: skip
    batch = torch.stack([x, -x, 2 * x])
    mask = torch.rand(edge_index.size(1), 2) < 0.8
    out, (_, weights) = layer(
        batch, edge_index, edge_attr, mask=mask, return_attention_weights=True
    )
    for k, one in enumerate(batch):
        expected, (_, own) = layer(
            one, edge_index, edge_attr, mask=mask, return_attention_weights=True
        )
        torch.testing.assert_close(out[k], expected)
        torch.testing.assert_close(weights[k], own)


@pytest.mark.parametrize("flow", ["source_to_target", "target_to_source"])
@pytest.mark.parametrize("way", ["explain", "hook", "message"])
def test_message_passing_gives_the_same_where_pyg_must_see_the_messages(way, flow):
    edge_index, x, edge_attr, _ = features("random")
    layer = layer_of(6, 5, 2, score="gatv2", edge_dim=EDGE_DIM, flow=flow, add_self_loops=True)
    expected, (_, weights) = layer(x, edge_index, edge_attr, return_attention_weights=True)
    seen = []
    if way == "explain":
        layer.explain, layer._apply_sigmoid = True, False
        layer._edge_mask = torch.ones(edge_index.size(1), dtype=torch.float64)
        layer._loop_mask = edge_index[0] != edge_index[1]
    elif way == "hook":
        layer.register_message_forward_hook(lambda *given: seen.append(1))
    else:
        own = layer.message
        layer.message = lambda **given: seen.append(1) or own(**given)
    out, (_, same) = layer(x, edge_index, edge_attr, return_attention_weights=True)
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(same, weights)
    assert bool(seen) is (way != "explain")


def test_an_explainers_mask_scales_what_each_edge_sends():
    edge_index, x, _, _ = features("random")
    layer = layer_of(6, 5, 2, add_self_loops=True, normalizer="sparsemax", bias=False).eval()
    _, (edges, weights) = layer(x, edge_index, return_attention_weights=True)
    mask = torch.rand(edge_index.size(1), dtype=torch.float64)
    own = edge_index[0] != edge_index[1]
    set_masks(layer, mask, edge_index, apply_sigmoid=False)
    masked = layer(x, edge_index)
    clear_masks(layer)
    listed = torch.cat([mask[own], torch.ones(31).double()])
    graph = Graph.from_edge_index(edges, 31)
    value = (x @ layer.lin_key.weight.t()).view(31, 2, 5)
    expected = gat.ops.aggregate(graph, weights * listed.unsqueeze(1), value)
    torch.testing.assert_close(masked, expected.flatten(1))
    explainer = Explainer(
        layer, GNNExplainer(epochs=3), explanation_type="model", node_mask_type="attributes",
        edge_mask_type="object",
        model_config={"mode": "regression", "task_level": "node", "return_type": "raw"},
    )  # fmt: skip
    assert explainer(x, edge_index, index=3).edge_mask.sum() > 0


@pytest.mark.parametrize("flow", ["source_to_target", "target_to_source"])
def test_message_passing_on_a_bipartite_graph(flow):
    edge_index, x, _, num_dst = features("bipartite_wide")
    edge_index = edge_index if flow == "source_to_target" else edge_index.flip(0)
    layer = layer_of((6, 4), 5, 2, score="dot", flow=flow)
    pair = (x, torch.randn(num_dst, 4).double())
    expected = layer(pair, edge_index)
    layer.register_message_forward_hook(lambda *given: None)
    torch.testing.assert_close(layer(pair, edge_index), expected)


def test_other_aggregations_and_a_subclass_with_a_message_of_its_own():
    edge_index, x, _, _ = features("random")

    class Doubled(AttentionConv):
        def message(self, value_j, weights, edge_value):
            return 2 * super().message(value_j, weights, edge_value)

    layer, doubled = layer_of(6, 5, bias=False), Doubled(6, 5, bias=False).double()
    doubled.load_state_dict(layer.state_dict())
    torch.testing.assert_close(doubled(x, edge_index), 2 * layer(x, edge_index))
    highest = layer_of(6, 5, bias=False, aggr="max")
    highest.load_state_dict(layer.state_dict())
    assert (highest(x, edge_index) != layer(x, edge_index)).any()


def test_a_masked_loop_of_the_callers_is_masked():
    edge_index = torch.tensor([[0, 1, 1], [0, 0, 1]])
    layer = layer_of(6, 5, add_self_loops=True)
    mask = torch.tensor([False, True, True])
    x = torch.randn(3, 6).double()
    _, (edges, weights) = layer(x, edge_index, mask=mask, return_attention_weights=True)
    by_edge = dict(zip(map(tuple, edges.t().tolist()), weights.flatten().tolist(), strict=True))
    assert by_edge == {(1, 0): 1.0, (0, 0): 0.0, (1, 1): 1.0, (2, 2): 1.0}


def test_a_hard_draw_takes_no_masked_edge():
    edge_index, x, _, _ = features("random")
    layer = layer_of(6, 5, normalizer=Gumbel(hard=True), bias=False)
    mask = edge_index[1] != 0
    for training in (True, False):
        out, (_, weights) = layer.train(training)(
            x, edge_index, mask=mask, return_attention_weights=True
        )
        assert (weights[~mask] == 0).all()
        assert (out[0] == 0).all()


def test_the_edge_projections_own_code_is_called():
    edge_index, x, edge_attr, _ = features("random")
    layer = layer_of(6, 5, 2, edge_dim=EDGE_DIM)
    expected = layer(x, edge_index, edge_attr)
    called = []
    layer.lin_edge.register_forward_hook(lambda *given: called.append(1))
    torch.testing.assert_close(layer(x, edge_index, edge_attr), expected)
    assert called
    batch = torch.stack([x, 2 * x])
    torch.testing.assert_close(layer(batch, edge_index, edge_attr)[0], expected)


@pytest.mark.filterwarnings("ignore:Sparse")
def test_edge_features_held_by_a_sparse_matrix():
    edge_index = torch.unique(GRAPHS["random"][0].flip(0), dim=1).flip(0)
    x, values = torch.randn(31, 6).double(), torch.randn(edge_index.size(1), 1).double()
    layer = layer_of(6, 5, edge_dim=1)
    held = torch.sparse_coo_tensor(edge_index.flip(0), values, (31, 31, 1), is_coalesced=True)
    torch.testing.assert_close(layer(x, held), layer(x, edge_index, values))


def test_zero_features_have_finite_second_derivatives_of_their_cosine():
    edge_index, x, _, _ = features("random")
    layer = layer_of(6, 5, score="cosine")
    zeros = torch.zeros_like(x).requires_grad_()
    (grad,) = torch.autograd.grad(layer(zeros, edge_index).sum(), zeros, create_graph=True)
    (second,) = torch.autograd.grad(grad.square().sum(), zeros)
    assert second.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_bias_of_another_dtype_changes_none(dtype):
    edge_index, x, _, _ = features("random")
    layer = AttentionConv(6, 5, normalizer="entmax").to(dtype)
    with torch.no_grad():
        layer.normalizer.raw.fill_(-12)
    out = layer(x.to(dtype), edge_index, score_bias=torch.zeros(211))
    assert out.dtype is dtype
    assert out.isfinite().all()


def test_parts_are_shown_with_their_options():
    layer = AttentionConv(6, 5, score="scaled_dot", normalizer="topk")
    shown = "score=DotScore(scale='inverse_root'), normalizer=TopK(k=8, temperature=1.0)"
    assert repr(layer) == f"AttentionConv(6, 5, heads=1, {shown})"


def test_sizes_left_open_are_learned_from_the_first_input():
    edge_index, x, _, _ = features("random")
    layer = AttentionConv(-1, 5, 2, score="scaled_dot", residual="linear").double()
    assert layer(x, edge_index).shape == (31, 10)
    assert layer.lin_query.weight.shape == (10, 6)
    layer = AttentionConv((-1, -1), 5, 2, edge_dim=-1).double()
    edge_attr = torch.randn(211, 4).double()
    first = layer((x, x[:, :3]), edge_index, edge_attr)
    torch.testing.assert_close(layer((x, x[:, :3]), edge_index, edge_attr), first)
    assert layer.lin_edge.weight.shape == (10, 4)


def test_weights_are_dropped_in_training_only():
    edge_index, x, _, _ = features("random")
    for normalizer in ("softmax", "sigmoid"):
        layer = layer_of(6, 5, 2, dropout=0.5, normalizer=normalizer)
        _, (_, dropped) = layer(x, edge_index, return_attention_weights=True)
        _, (_, whole) = layer.eval()(x, edge_index, return_attention_weights=True)
        assert 0.3 < (dropped == 0).double().mean() < 0.7
        assert (whole != 0).all()
        kept = dropped != 0
        torch.testing.assert_close(dropped[kept], 2 * whole[kept])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"score": "cosin"}, r"score is 'cosin'; expected one of additive, bilinear"),
        ({"normalizer": "max"}, r"normalizer is 'max'; expected one of entmax"),
        ({"heads": 0}, "heads is 0; expected 1 or more"),
        ({"dropout": 1.5}, r"dropout is 1\.5; expected a probability"),
        ({"edge_dim": 3, "edge_in": ("key",)}, r"edge_in is \('key',\); expected 'score', 'value'"),
        ({"residual": "conv"}, "residual is 'conv'; expected one of False, True, 'linear'"),
        ({"gate": "residual"}, "set residual='linear' too"),
        ({"residual": "identity"}, "the targets have 6 and the layer gives 5"),
        ({"share": "key"}, "share is 'key'; expected one of None, 'all'"),
        ({"residual": 1}, "residual is 1; expected one of False, True"),
        ({"edge_in": "keys"}, "edge_in is 'keys'; expected 'score', 'value'"),
        ({"update_edges": True}, "update_edges gives the hidden layer of the score, which this"),
        ({"aggr": ["add", "max"]}, r"aggr is \['add', 'max'\]; expected the name of one"),
    ],
)
def test_options_that_cannot_be_are_refused_in_words(options, message):
    with pytest.raises(InputError, match=message):
        AttentionConv(6, 5, **options)


def test_bad_inputs_are_refused_in_words():
    edge_index, x, edge_attr, _ = features("random")
    layer = layer_of(6, 5, 2, edge_dim=EDGE_DIM)
    with pytest.raises(InputError, match="made with edge_dim=3 and called without edge_attr"):
        layer(x, edge_index)
    with pytest.raises(InputError, match=r"edge_attr has shape \[211, 2\]; expected .* \[211, 3\]"):
        layer(x, edge_index, edge_attr[:, :2])
    plain = layer_of(6, 5, 2)
    with pytest.raises(InputError, match="made without edge_dim and called with edge_attr"):
        plain(x, edge_index, edge_attr)
    with pytest.raises(ArgumentTypeError, match=r"mask is a tensor of torch\.float32; ex"):
        plain(x, edge_index, mask=torch.ones(211))
    with pytest.raises(InputError, match=r"score_bias has shape \[211, 3\]; expected one"):
        plain(x, edge_index, score_bias=torch.ones(211, 3))
    with pytest.raises(InputError, match=r"mask has shape \[5\]; expected .* \[211\]"):
        plain(x, edge_index, mask=torch.ones(5).bool())
    with pytest.raises(ArgumentTypeError, match=r"score_bias is \[1\.0\]; expected a floating"):
        plain(x, edge_index, score_bias=[1.0])
    with pytest.raises(ArgumentTypeError, match=r"edge_attr has dtype torch\.int64"):
        layer(x, edge_index, edge_attr.long())
    with pytest.raises(InputError, match="the targets have 6 and the layer gives 5"):
        AttentionConv(-1, 5, residual="identity").double()(x, edge_index)
    with pytest.raises(
        ArgumentTypeError, match=r"expected a name .* or an object of a class derived"
    ):
        AttentionConv(6, 5, score=3)
    for part in ("score", "normalizer"):
        with pytest.raises(InputError, match="belongs to a layer already"):
            AttentionConv(6, 5, 2, **{part: getattr(layer, part)})


def test_gumbel_falls_with_training_and_hard_draws_take_one_edge():
    edge_index, x, _, _ = features("random")
    gumbel = Gumbel(temperature=2.0, hard=True, rate=0.1, minimum=1.5)
    layer = layer_of(6, 5, 2, normalizer=gumbel)
    temperatures = []
    for _ in range(5):
        temperatures.append(float(gumbel.current()))
        out, (_, weights) = layer(x, edge_index, return_attention_weights=True)
        taken = torch.zeros(31, 2).double().index_add(0, edge_index[1], weights.round())
        assert set(taken.flatten().tolist()) <= {0.0, 1.0}
        out.sum().backward()
        assert layer.score.att_src.grad.abs().sum() > 0
        gumbel.anneal()
    assert temperatures == pytest.approx([max(1.5, 2 * 2.718281828 ** (-k / 10)) for k in range(5)])
    assert layer.state_dict()["normalizer.step"] == 5
    assert torch.equal(layer.eval()(x, edge_index), layer(x, edge_index))
