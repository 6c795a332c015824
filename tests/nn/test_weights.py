"""Weights of older PyGs and of DGL, proven by formulas written out here edge by edge."""

import pytest
import torch
import torch.nn.functional as F
import torch_geometric.nn as pyg

import gat
import gat.nn
from gat.errors import ArgumentTypeError, CheckpointMismatchError
from tests.graphs import GRAPHS

LAYERS = [pyg, gat.nn]
SQUARE = ["random", "isolated_nodes", "loops_and_duplicates", "hub", "no_edges"]
BIPARTITE = ["bipartite_wide", "bipartite_tall"]
HEADS, CHANNELS, WIDTH = 3, 4, 6
ours_and_pygs = pytest.mark.parametrize("layers", LAYERS, ids=["pygs_layer", "our_layer"])


def numbers(*size):
    return torch.randn(*size, dtype=torch.float64)


def drawn(**shapes):
    """A state dict of these shapes; "__" in a name is its dot."""
    return {name.replace("__", "."): numbers(*shape) for name, shape in shapes.items()}


def attended(score, value, edge_index, num_dst):
    """Target by target: softmax of its edges' scores [E, H], weighted sum of values [N, H, C]."""
    out = torch.zeros(num_dst, *value.shape[1:], dtype=value.dtype)
    for target in range(num_dst):
        edges = (edge_index[1] == target).nonzero().flatten().tolist()
        if edges:
            weights = torch.stack([score(edge) for edge in edges]).softmax(0)
            for edge, weight in zip(edges, weights, strict=True):
                out[target] += weight[:, None] * value[edge_index[0, edge]]
    return out


def split(x):
    return x.view(-1, HEADS, CHANNELS)


def gat_formula(weights, x_src, x_dst, edge_index, names):
    """Velickovic et al. 2018, eq. 3, by the names of (projections, attention vectors)."""
    fc_src, fc_dst, att_src, att_dst = (weights[name] for name in names)
    value, target = split(x_src @ fc_src.t()), split(x_dst @ fc_dst.t())
    el, er = (value * att_src).sum(-1), (target * att_dst).sum(-1)

    def score(edge):
        return F.leaky_relu(el[edge_index[0, edge]] + er[edge_index[1, edge]], 0.2)

    return attended(score, value, edge_index, len(x_dst))


def gatv2_formula(weights, x_src, x_dst, edge_index):
    """Brody et al. 2022, eq. 7, as DGL parametrises it: biases in the projections."""
    value = split(F.linear(x_src, weights["fc_src.weight"], weights.get("fc_src.bias")))
    target = split(F.linear(x_dst, weights["fc_dst.weight"], weights.get("fc_dst.bias")))

    def score(edge):
        both = value[edge_index[0, edge]] + target[edge_index[1, edge]]
        return (F.leaky_relu(both, 0.2) * weights["attn"][0]).sum(-1)

    return attended(score, value, edge_index, len(x_dst))


def dgl_end(weights, out, x_dst, residual):
    """DGL adds the residual, then the bias, to each head; [N, H, C]."""
    if residual == "linear":
        out = out + split(F.linear(x_dst, weights["res_fc.weight"], weights.get("res_fc.bias")))
    elif residual == "identity":
        # view(N, -1, C): one head for all where the input has C channels.
        out = out + x_dst.view(len(x_dst), -1, CHANNELS)
    return out if weights.get("bias") is None else out + weights["bias"].view(HEADS, CHANNELS)


def read_out(out, concat):
    return out.flatten(1) if concat else out.mean(1)


def node_features(graph, width=WIDTH):
    edge_index, num_src, num_dst = GRAPHS[graph]
    return edge_index, numbers(num_src, width), numbers(num_dst, width)


# --- PyG's eras ---------------------------------------------------------------------------------

ERAS = {
    "1.6": ("lin_l.weight", "lin_r.weight", "att_l", "att_r"),
    "2.0": ("lin_src.weight", "lin_dst.weight", "att_src", "att_dst"),
    "2.5": ("lin.weight", "lin.weight", "att_src", "att_dst"),
}


def era_weights(era, bipartite=False):
    lin_src, lin_dst, att_src, att_dst = ERAS[era]
    size = HEADS * CHANNELS
    weights = {lin_src: numbers(size, WIDTH), "bias": numbers(size)}
    weights[lin_dst] = numbers(size, WIDTH) if bipartite else weights[lin_src]
    weights |= {name: numbers(1, HEADS, CHANNELS) for name in (att_src, att_dst)}
    return weights


@ours_and_pygs
@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("graph", SQUARE)
def test_gatconv_of_each_era_computes_its_formula(layers, era, graph):
    edge_index, x, _ = node_features(graph)
    weights = era_weights(era)
    layer = layers.GATConv(WIDTH, CHANNELS, HEADS, add_self_loops=False).double()
    gat.load_pyg_state_dict(layer, weights)
    expected = gat_formula(weights, x, x, edge_index, ERAS[era]).flatten(1) + weights["bias"]
    torch.testing.assert_close(layer(x, edge_index), expected)


@ours_and_pygs
@pytest.mark.parametrize("era", ["1.6", "2.0"])
@pytest.mark.parametrize("graph", BIPARTITE)
def test_bipartite_gatconv_of_each_era_computes_its_formula(layers, era, graph):
    edge_index, x_src, x_dst = node_features(graph)
    weights = era_weights(era, bipartite=True)
    layer = layers.GATConv((WIDTH, WIDTH), CHANNELS, HEADS, add_self_loops=False).double()
    gat.load_pyg_state_dict(layer, weights)
    out = gat_formula(weights, x_src, x_dst, edge_index, ERAS[era]).flatten(1) + weights["bias"]
    torch.testing.assert_close(layer((x_src, x_dst), edge_index), out)


def aged(state_dict, era):
    """Today's state dict of homogeneous layers by an older era's names."""
    lin_src, lin_dst, att_src, att_dst = ERAS[era]
    old = {}
    for name, value in state_dict.items():
        if name.endswith("lin.weight"):
            old[name.replace("lin.weight", lin_src)] = value
            old[name.replace("lin.weight", lin_dst)] = value
        else:
            old[name.replace("att_src", att_src).replace("att_dst", att_dst)] = value
    return old


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("accelerate", [False, True], ids=["pygs_model", "accelerated"])
def test_a_whole_model_of_each_era(era, accelerate):
    options = {"num_layers": 3, "out_channels": 4, "heads": 2, "norm": "BatchNorm"}
    source = pyg.models.GAT(WIDTH, 8, edge_dim=2, **options).double().eval()
    model = pyg.models.GAT(-1, 8, edge_dim=2, **options).double().eval()
    if accelerate:
        gat.accelerate(model)
    edge_index, x, _ = node_features("random")
    edge_attr = numbers(edge_index.size(1), 2)
    done = gat.load_pyg_state_dict(model, aged(source.state_dict(), era))
    assert (done.missing_keys, done.unexpected_keys) == ([], [])
    torch.testing.assert_close(
        model(x, edge_index, edge_attr=edge_attr), source(x, edge_index, edge_attr=edge_attr)
    )


def test_other_attention_layers_load_by_their_own_names():
    for source in (pyg.SuperGATConv(6, 4), pyg.GATv2Conv(6, 4), pyg.TransformerConv(6, 4)):
        layer = type(source)(6, 4)
        gat.load_pyg_state_dict(layer, source.state_dict())
        torch.testing.assert_close(dict(layer.state_dict()), dict(source.state_dict()))


# --- DGL ----------------------------------------------------------------------------------------

SIZE = HEADS * CHANNELS
# Widths at which DGL has each residual.
RESIDUALS = {"none": WIDTH, "linear": WIDTH, "identity": SIZE, "identity_per_head": CHANNELS}


def dgl_weights(v2, residual, *, bipartite=False, bias="own"):
    width, one = RESIDUALS[residual], (1, HEADS, CHANNELS)
    if v2:
        shapes = {"fc_src__weight": (SIZE, width), "fc_dst__weight": (SIZE, width), "attn": one}
        if bias:
            shapes |= {"fc_src__bias": (SIZE,), "fc_dst__bias": (SIZE,)}
    else:
        names = ["fc_src__weight", "fc_dst__weight"] if bipartite else ["fc__weight"]
        shapes = {"attn_l": one, "attn_r": one} | dict.fromkeys(names, (SIZE, width))
        if bias == "own":
            shapes["bias"] = (SIZE,)
    if residual == "linear":
        shapes["res_fc__weight"] = (SIZE, width)
        if bias and (v2 or bias == "residual's"):
            shapes["res_fc__bias"] = (SIZE,)
    return drawn(**shapes)


def dgl_formula(v2, weights, x_src, x_dst, edge_index, residual):
    if v2:
        out = gatv2_formula(weights, x_src, x_dst, edge_index)
    else:
        pair = ("fc.weight",) * 2 if "fc.weight" in weights else ("fc_src.weight", "fc_dst.weight")
        out = gat_formula(weights, x_src, x_dst, edge_index, (*pair, "attn_l", "attn_r"))
    return dgl_end(weights, out, x_dst, residual.removesuffix("_per_head"))


def layer_for(layers, v2, residual, width, concat=True, bias=True, **options):
    return (layers.GATv2Conv if v2 else layers.GATConv)(
        width, CHANNELS, HEADS, concat, residual=residual != "none", bias=bias,
        add_self_loops=False, **options,
    ).double()  # fmt: skip


v1_and_v2 = pytest.mark.parametrize("v2", [False, True], ids=["GATConv", "GATv2Conv"])


@ours_and_pygs
@v1_and_v2
@pytest.mark.parametrize("residual", RESIDUALS)
@pytest.mark.parametrize("concat", [True, False], ids=["concat", "mean"])
def test_dgls_layer_computes_its_formula(layers, v2, residual, concat):
    weights = dgl_weights(v2, residual)
    layer = layer_for(layers, v2, residual, RESIDUALS[residual], concat)
    gat.load_dgl_state_dict(layer, weights, identity_residual=residual.startswith("identity"))
    for graph in ("random", "isolated_nodes"):
        edge_index, x, _ = node_features(graph, RESIDUALS[residual])
        expected = dgl_formula(v2, weights, x, x, edge_index, residual)
        torch.testing.assert_close(layer(x, edge_index), read_out(expected, concat))


@ours_and_pygs
@v1_and_v2
@pytest.mark.parametrize("graph", BIPARTITE)
@pytest.mark.parametrize("residual", ["none", "linear", "identity"])
def test_dgls_bipartite_layer_computes_its_formula(layers, v2, graph, residual):
    width = RESIDUALS[residual]
    edge_index, x_src, x_dst = node_features(graph, width)
    weights = dgl_weights(v2, residual, bipartite=True)
    layer = layer_for(layers, v2, residual, (width, width))
    gat.load_dgl_state_dict(layer, weights, identity_residual=True)
    expected = dgl_formula(v2, weights, x_src, x_dst, edge_index, residual).flatten(1)
    torch.testing.assert_close(layer((x_src, x_dst), edge_index), expected)


@v1_and_v2
@pytest.mark.parametrize("bias", [None, "residual's"])
@pytest.mark.parametrize("concat", [True, False], ids=["concat", "mean"])
def test_dgls_bias_may_be_absent_or_the_residuals(v2, bias, concat):
    edge_index, x, _ = node_features("random")
    weights = dgl_weights(v2, "linear", bias=bias)
    layer = layer_for(gat.nn, v2, "linear", WIDTH, concat, bias=bias is not None)
    gat.load_dgl_state_dict(layer, weights)
    expected = dgl_formula(v2, weights, x, x, edge_index, "linear")
    torch.testing.assert_close(layer(x, edge_index), read_out(expected, concat))


@ours_and_pygs
def test_dgls_shared_weights(layers):
    edge_index, x, _ = node_features("random")
    weights = dgl_weights(True, "none")
    for part in ("weight", "bias"):
        weights[f"fc_dst.{part}"] = weights[f"fc_src.{part}"]
    expected = gatv2_formula(weights, x, x, edge_index).flatten(1)
    once = {name: value for name, value in weights.items() if "fc_dst" not in name}
    for state_dict in (weights, once):
        layer = layer_for(layers, True, "none", WIDTH, share_weights=True)
        gat.load_dgl_state_dict(layer, state_dict)
        torch.testing.assert_close(layer(x, edge_index), expected)


class Net(torch.nn.Module):
    """A model as DGL's examples write it, in PyG."""

    def __init__(self, layers):
        super().__init__()
        self.layers = torch.nn.ModuleList(
            [layer_for(layers, v2, "none", w) for v2, w in ((False, WIDTH), (True, SIZE))]
        )
        self.linear = torch.nn.Linear(SIZE, 2).double()

    def forward(self, x, edge_index):
        for layer in self.layers:
            x = F.elu(layer(x, edge_index))
        return self.linear(x)


@ours_and_pygs
def test_a_whole_model_of_dgls_layers(layers):
    edge_index, x, _ = node_features("random")
    first = dgl_weights(False, "none")
    second = dgl_weights(True, "identity")
    weights = {f"layers.0.{name}": value for name, value in first.items()}
    weights |= {f"layers.1.{name}": value for name, value in second.items()}
    weights |= drawn(linear__weight=(2, SIZE), linear__bias=(2,))
    model = Net(layers)
    gat.load_dgl_state_dict(model, weights)
    hidden = F.elu(dgl_formula(False, first, x, x, edge_index, "none").flatten(1))
    hidden = F.elu(dgl_formula(True, second, hidden, hidden, edge_index, "none").flatten(1))
    expected = F.linear(hidden, weights["linear.weight"], weights["linear.bias"])
    torch.testing.assert_close(model(x, edge_index), expected)


# --- what is refused ----------------------------------------------------------------------------


def refused(load, module, weights, match, **options):
    """Refused by these words, and not a number has changed."""
    before = {name: value.clone() for name, value in module.state_dict().items()}
    given = dict(weights)
    with pytest.raises(CheckpointMismatchError, match=match) as error:
        load(module, weights, **options)
    assert "nothing was loaded" in str(error.value)
    torch.testing.assert_close(dict(module.state_dict()), before, rtol=0, atol=0)
    assert weights.keys() == given.keys()


def test_missing_unexpected_and_misshapen_weights_are_named_together():
    model = Net(gat.nn)
    weights = aged(model.state_dict(), "1.6")
    del weights["layers.0.att_l"]
    weights |= {"layers.1.lin_l.bias": numbers(3), "layers.0.lin_c.weight": numbers(1), "step": 3}
    refused(
        gat.load_pyg_state_dict, model, weights,
        r"fit Net: missing layers\.0\.att_src; unexpected layers\.0\.lin_c\.weight, step; "
        r"layers\.1\.lin_l\.bias is \[3\], expected \[12\]; nothing",
    )  # fmt: skip


def test_strict_false_loads_what_fits_and_returns_the_rest():
    layer = layer_for(gat.nn, False, "none", WIDTH)
    weights = era_weights("1.6") | {"more": numbers(1)}
    del weights["bias"]
    done = gat.load_pyg_state_dict(layer, weights, strict=False)
    assert (done.missing_keys, done.unexpected_keys) == (["bias"], ["more"])
    assert torch.equal(layer.att_dst, weights["att_r"])
    weights["att_l"] = numbers(2)
    refused(gat.load_pyg_state_dict, layer, weights, r"att_l is \[2\]", strict=False)


@pytest.mark.parametrize("era", ["1.6", "2.0"])
def test_two_projections_for_a_layer_of_one_are_refused(era):
    lin_src, lin_dst, *_ = ERAS[era]
    layer = layer_for(gat.nn, False, "none", WIDTH)
    refused(
        gat.load_pyg_state_dict, layer, era_weights(era, bipartite=True),
        f"{lin_src} and {lin_dst} differ, but the layer projects .* alike; make it with a pair",
    )  # fmt: skip
    weights = dgl_weights(False, "none", bipartite=True)
    refused(gat.load_dgl_state_dict, layer, weights, r"fc_src\.weight and fc_dst\.weight differ")


def test_weights_the_module_shares_must_be_equal():
    layer = layer_for(gat.nn, True, "none", WIDTH, share_weights=True)
    apart = layer_for(gat.nn, True, "none", WIDTH).state_dict()
    match = r"lin_l\.weight and lin_r\.weight differ, but the module shares them"
    refused(gat.load_pyg_state_dict, layer, apart, match)
    refused(
        gat.load_dgl_state_dict, layer, dgl_weights(True, "none"),
        r"fc_src\.weight and fc_dst\.weight differ, but the module shares them",
    )  # fmt: skip


@v1_and_v2
def test_a_residual_that_left_no_weight_must_be_said_to_be_the_identity(v2):
    layer = layer_for(gat.nn, v2, "identity", SIZE)
    weights = dgl_weights(v2, "identity")
    match = r"fc.*has residual=True, but .* no res_fc\.weight .* pass identity_residual=True"
    refused(gat.load_dgl_state_dict, layer, weights, match)
    layer, weights = layer_for(gat.nn, v2, "linear", WIDTH), dgl_weights(v2, "none")
    match = r"the identity does not lead from 6 channels to 3 heads of 4"
    refused(gat.load_dgl_state_dict, layer, weights, match, identity_residual=True)


@v1_and_v2
def test_what_dgls_layer_has_and_the_other_has_not_is_unexpected(v2):
    layer = layer_for(gat.nn, v2, "none", WIDTH)
    refused(gat.load_dgl_state_dict, layer, dgl_weights(v2, "linear"), r"unexpected res_fc\.weight")
    layer = layer_for(gat.nn, v2, "linear", WIDTH, bias=False)
    match = r"unexpected (bias|fc_dst\.bias, fc_src\.bias, res_fc\.bias)"
    refused(gat.load_dgl_state_dict, layer, dgl_weights(v2, "linear"), match)
    layer = layer_for(gat.nn, v2, "none", WIDTH, edge_dim=2)
    match = r"missing (att_edge, )?lin_edge\.weight"
    refused(gat.load_dgl_state_dict, layer, dgl_weights(v2, "none"), match)


def test_other_heads_are_refused_even_where_their_product_is_equal():
    layer = gat.nn.GATConv(WIDTH, HEADS, CHANNELS).double()
    match = r"attn_l is \[1, 3, 4\], expected \[1, 4, 3\]"
    refused(gat.load_dgl_state_dict, layer, dgl_weights(False, "none"), match)
    layer = layer_for(gat.nn, False, "none", WIDTH, concat=False)
    weights = dgl_weights(False, "none") | {"bias": numbers(CHANNELS)}
    match = r"bias has shape \[4\]; expected 12 rows, one for each of 3 heads' 4 channels"
    refused(gat.load_dgl_state_dict, layer, weights, match)


def test_a_lazy_layer_takes_its_width_from_the_weights_and_refuses_other_outputs():
    layer = gat.nn.GATConv(-1, CHANNELS, HEADS)
    with pytest.raises(CheckpointMismatchError, match=r"lin_l\.weight is \[5, 6\], expected \[12,"):
        gat.load_pyg_state_dict(
            layer, era_weights("1.6") | dict.fromkeys(ERAS["1.6"][:2], numbers(5, 6))
        )
    assert isinstance(layer.lin.weight, torch.nn.UninitializedParameter)
    gat.load_pyg_state_dict(layer, era_weights("1.6"))
    assert layer.lin.weight.shape == (SIZE, WIDTH)


def test_what_is_no_state_dict_is_refused():
    layer = pyg.GATConv(6, 4)
    for load in (gat.load_pyg_state_dict, gat.load_dgl_state_dict):
        with pytest.raises(ArgumentTypeError, match="state_dict is a GATConv; expected names and"):
            load(layer, layer)
    refused(
        gat.load_pyg_state_dict, layer, layer.state_dict() | {"bias": [1.0]},
        "bias is a list, expected a tensor",
    )  # fmt: skip
