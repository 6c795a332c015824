"""Every score against its formula, written out for one edge; and a score of one's own."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gat.errors import InputError
from gat.nn import AttentionConv
from gat.nn.forms import Dot
from gat.nn.scores import SCORES, DotScore, Score, SuperGATScore
from tests.graphs import GRAPHS
from tests.nn.twins import EDGE_DIM

# One edge of one head: parameters p by name, q, k and e [C]; e is zero without edge features.
FORMULAS = {
    "additive": lambda p, q, k, e: F.leaky_relu(
        p["att_src"] @ k + p["att_dst"] @ q + p["att_edge"] @ e, 0.2
    ),
    "gatv2": lambda p, q, k, e: p["att"] @ F.leaky_relu(q + k + e, 0.2),
    "mlp": lambda p, q, k, e: p["v"] @ torch.tanh(q + k + e),
    "normed_mlp": lambda p, q, k, e: (
        p["g"] * p["v"] / p["v"].norm() @ torch.tanh(q + k + e + p["b"])
    ),
    "dot": lambda p, q, k, e: q @ (k + e),
    "scaled_dot": lambda p, q, k, e: q @ (k + e) / math.sqrt(len(q)),
    "scaled_luong": lambda p, q, k, e: p["g"] * (q @ (k + e)),
    "bilinear": lambda p, q, k, e: q @ p["weight"] @ (k + e),
    "cosine": lambda p, q, k, e: p["beta"] * (q @ k / (q.norm() * k.norm())) + p["att_edge"] @ e,
    "supergat_mx": lambda p, q, k, e: F.leaky_relu(
        (p["att_src"] @ k + p["att_dst"] @ q + p["att_edge"] @ e) * torch.sigmoid(q @ k), 0.2
    ),
    "supergat_sd": lambda p, q, k, e: F.leaky_relu(q @ (k + e) / math.sqrt(len(q)), 0.2),
}


def by_formula(layer, name, x, edge_index, edge_attr):
    heads, channels = layer.heads, layer.out_channels

    def projected(lin, given):
        return (given @ lin.weight.t()).view(-1, heads, channels)

    key = projected(layer.lin_key, x)
    query = key if layer.lin_query is None else projected(layer.lin_query, x)
    edge = torch.zeros(edge_index.size(1), heads, channels).double()
    if layer.lin_edge is not None:
        edge = projected(layer.lin_edge, edge_attr)
    rows = []
    for e, (j, i) in enumerate(edge_index.t().tolist()):
        for h in range(heads):
            own = {key: value[h] for key, value in layer.score.named_parameters()}
            own.setdefault("att_edge", torch.zeros(channels).double())
            rows.append(FORMULAS[name](own, query[i, h], key[j, h], edge[e, h]).reshape(()))
    return torch.stack(rows).view(-1, heads)


def test_every_score_has_its_formula_here():
    assert sorted(FORMULAS) == SCORES.names()


@pytest.mark.parametrize("edge_dim", [None, EDGE_DIM], ids=["", "edges"])
@pytest.mark.parametrize("name", FORMULAS)
def test_a_score_is_its_formula(name, edge_dim):
    edge_index, count, _ = GRAPHS["loops_and_duplicates"]
    layer = AttentionConv(6, 5, 2, score=name, edge_dim=edge_dim).double()
    with torch.no_grad():
        for parameter in layer.score.parameters():
            parameter.add_(torch.randn_like(parameter))
    x = torch.randn(count, 6).double()
    edge_attr = None if edge_dim is None else torch.randn(edge_index.size(1), EDGE_DIM).double()
    expected = by_formula(layer, name, x, edge_index, edge_attr)
    torch.testing.assert_close(layer.scores(x, edge_index, edge_attr), expected)


@pytest.mark.parametrize("name", FORMULAS)
def test_a_score_scaled_is_the_score_times_the_factor(name):
    """What a temperature does to a form, without working the scores out."""
    edge_index, count, _ = GRAPHS["loops_and_duplicates"]
    layer = AttentionConv(6, 5, 2, score=name).double()
    x = torch.randn(count, 6).double()
    graph = layer._graph(edge_index, x, x)
    form = layer._form(graph, *layer._project(x, x, True)[:2], None)
    for factor in (0.25, torch.tensor(3.0).double()):
        torch.testing.assert_close(form.scaled(factor).scores(graph), form.scores(graph) * factor)


def test_a_score_of_ones_own_is_one_class():
    class Distance(Score):
        """-g |q_i - k_j|^2, whose softmax forgets |q_i|^2."""

        share = "all"

        def setup(self, heads, channels, takes_edges):
            self.g = nn.Parameter(torch.empty(heads, 1))

        def reset_parameters(self):
            nn.init.ones_(self.g)

        def forward(self, graph, query, key, edge):
            inner = Dot(2 * query, key).scores(graph)
            square = key.square().sum(-1)[graph.edge_index[0]]
            return self.spread(self.g, query).squeeze(1) * (inner - square)

    SCORES.add("distance of a test")(Distance)
    try:
        layer = AttentionConv(6, 5, 2, score="distance of a test").double()
    finally:
        del SCORES.makers["distance of a test"]
    edge_index, count, _ = GRAPHS["random"]
    x = torch.randn(count, 6).double()
    _, (_, weights) = layer(x, edge_index, return_attention_weights=True)
    key = (x @ layer.lin_key.weight.t()).view(-1, 2, 5)
    near = torch.exp(-(key[edge_index[1]] - key[edge_index[0]]).square().sum(-1))
    total = torch.zeros(count, 2).double().index_add(0, edge_index[1], near)
    torch.testing.assert_close(weights, near / total[edge_index[1]])


def test_a_name_is_taken_once():
    with pytest.raises(InputError, match="there is a score 'dot' already; choose another name"):
        SCORES.add("dot")(SuperGATScore)
    SCORES.add("dot")(DotScore)


def test_options_of_scores_are_refused_in_words():
    with pytest.raises(InputError, match="scale is 'root'; expected a number, 'inverse_root'"):
        DotScore("root")
    with pytest.raises(InputError, match="kind is 'XX'; expected 'MX' or 'SD'"):
        SuperGATScore("XX")
