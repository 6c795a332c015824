"""`gat.models.GAT`: the paper's network, and that each option does what it says."""

import pytest
import torch
from torch import nn

from gat.errors import InputError
from gat.graph import Graph
from gat.models import GAT
from gat.nn import GATConv, GATv2Conv
from tests.graphs import GRAPHS

EDGE_INDEX = GRAPHS["random"][0]


def run(**options):
    model = GAT(6, 4, **options)
    x = torch.randn(31, 6)
    out = model.train()(x, EDGE_INDEX)
    assert out.shape == (31, 4)
    out.sum().backward()
    missing = [name for name, p in model.named_parameters() if p.grad is None]
    assert missing == []
    return model


def test_defaults_are_the_papers_network_for_cora():
    model = GAT(1433, 7)
    (first,), last = model.hidden, model.output
    assert repr(first.conv) == "GATConv(1433, 8, heads=8)"
    assert repr(last) == "GATConv(64, 7, heads=1)"
    assert (first.conv.concat, last.concat) == (True, False)
    assert {layer.dropout for layer in (first.conv, last)} == {0.6}
    assert {layer.value_dropout for layer in (first.conv, last)} == {0.6}
    # 1433*64 + 2*64 + 64 and 64*7 + 2*7 + 7, as in the paper's table of sizes.
    assert sum(p.numel() for p in model.parameters()) == 92_373


def test_forward_is_the_layers_in_order():
    model = GAT(6, 4, hidden_channels=3, heads=2).eval()
    x = torch.randn(31, 6)
    hidden = nn.functional.elu(model.hidden[0].conv(x, EDGE_INDEX))
    torch.testing.assert_close(model(x, EDGE_INDEX), model.output(hidden, EDGE_INDEX))
    torch.testing.assert_close(
        model(x, Graph.from_edge_index(EDGE_INDEX, 31)), model(x, EDGE_INDEX)
    )


@pytest.mark.parametrize(
    "options",
    [
        {"num_layers": 1},
        {"num_layers": 3, "heads": [4, 2]},
        {"concat": False},
        {"attention": "gatv2"},
        {"norm": "batch", "num_layers": 3},
        {"norm": "layer", "num_layers": 3},
        {"residual": "linear", "num_layers": 3},
        {"residual": "identity", "num_layers": 4, "activation": "gelu"},
        {"jumping_knowledge": "cat", "num_layers": 3, "heads": [4, 2, 1]},
        {"jumping_knowledge": "max", "num_layers": 2},
        {"jumping_knowledge": "lstm", "num_layers": 2},
        {"linear_input": True, "linear_output": True, "heads": 1},
        {"symmetric_norm": True, "add_self_loops": False, "bias": False},
        {"output_heads": 3, "activation": "leaky_relu"},
        {"residual_output": True, "output_heads": 2, "bias": False, "output_bias": True},
        {"linear_output": True, "output_bias": False},
        {"edge_dropout": 0.3, "attention": "gatv2"},
    ],
    ids=str,
)
def test_every_option_trains(options):
    run(**{"hidden_channels": 8, **options})


def test_biases_of_hidden_layers_and_output():
    for bias, output, expected in [(False, True, True), (True, False, False), (False, None, False)]:
        model = GAT(6, 4, bias=bias, output_bias=output)
        assert (model.hidden[0].conv.bias is not None) is bias
        assert (model.output.bias is not None) is expected
    assert GAT(6, 4, bias=False, linear_output=True).output.bias is not None


def test_scores_without_the_target_leave_its_vector_alone():
    model = GAT(6, 4, target_score=False)
    for layer in (model.hidden[0].conv, model.output):
        assert not layer.target_score
        assert not layer.att_dst.requires_grad
    model.load_state_dict(GAT(6, 4).state_dict())


def test_shared_weights_are_one_projection_in_every_layer():
    apart, shared = (GAT(6, 4, attention="gatv2", share_weights=one) for one in (False, True))
    for layer in (shared.hidden[0].conv, shared.output):
        assert layer.lin_l is layer.lin_r
    counts = [sum(p.numel() for p in model.parameters()) for model in (apart, shared)]
    # Less a second projection and its bias in both layers: 6 to 64 channels, 64 to 4.
    assert counts[0] - counts[1] == (6 * 64 + 64) + (64 * 4 + 4)


def test_options_reach_the_layers():
    model = GAT(6, 4, attention="gatv2", heads=[3], attention_dropout=0.1, value_dropout=0.2,
                symmetric_norm=True, add_self_loops=False, negative_slope=0.3)  # fmt: skip
    for layer in (model.hidden[0].conv, model.output):
        assert isinstance(layer, GATv2Conv)
        assert not layer.add_self_loops
        assert (layer.dropout, layer.value_dropout, layer.negative_slope) == (0.1, 0.2, 0.3)
        assert layer.symmetric_norm
    assert isinstance(GAT(6, 4).output, GATConv)


def test_feature_dropout_is_off_in_evaluation_and_on_in_training():
    model, x = GAT(6, 4, attention_dropout=0, value_dropout=0), torch.randn(31, 6)
    model.eval()
    assert torch.equal(model(x, EDGE_INDEX), model(x, EDGE_INDEX))
    model.train()
    assert not torch.equal(model(x, EDGE_INDEX), model(x, EDGE_INDEX))


def test_input_dropout_is_for_the_input_alone():
    assert GAT(6, 4).input_dropout == GAT(6, 4).feature_dropout == 0.6
    x = torch.eye(6)
    alone = torch.empty(2, 0, dtype=torch.int64)
    model = GAT(6, 4, num_layers=1, input_dropout=0, attention_dropout=0, value_dropout=0)
    assert torch.equal(model.train()(x, alone), model.eval()(x, alone))
    model = GAT(
        6, 4, num_layers=1, linear_output=True, input_dropout=0, attention_dropout=0,
        value_dropout=0,
    )  # fmt: skip
    assert not torch.equal(model.train()(x, alone), model.eval()(x, alone))


def test_identity_residual_adds_what_came_in():
    model = GAT(6, 4, num_layers=3, hidden_channels=6, heads=1, residual="identity").eval()
    first = model.hidden[0]
    assert isinstance(first.skip, nn.Identity)
    x = torch.randn(31, 6)
    torch.testing.assert_close(
        first(x, EDGE_INDEX, None), nn.functional.elu(first.conv(x, EDGE_INDEX) + x)
    )
    assert isinstance(GAT(5, 4, residual="identity").hidden[0].skip, nn.Linear)


@pytest.mark.parametrize("options", [{"linear_input": True}, {"jumping_knowledge": "cat"}], ids=str)
def test_feature_dropout_follows_every_stage(options):
    """With everything dropped, what enters the output is zero and only its bias is left."""
    model = GAT(6, 4, feature_dropout=1.0, input_dropout=0, **options).train()
    entered = []
    model.hidden[0].register_forward_pre_hook(lambda module, given: entered.append(given[0]))
    out = model(torch.randn(31, 6), EDGE_INDEX)
    assert torch.equal(out, model.output.bias.expand(31, 4))
    assert bool((entered[0] == 0).all()) is ("linear_input" in options)


@pytest.mark.parametrize("residual", ["none", "linear", "identity"])
@pytest.mark.parametrize("linear_input", [False, True])
@pytest.mark.filterwarnings("ignore:Sparse")
def test_sparse_features_equal_dense_ones(residual, linear_input):
    model = GAT(6, 4, hidden_channels=6, heads=1, residual=residual, linear_input=linear_input)
    x = torch.randn(31, 6) * (torch.rand(31, 6) < 0.3)
    sparse = x.to_sparse_csr()
    torch.testing.assert_close(model.eval()(sparse, EDGE_INDEX), model(x, EDGE_INDEX))
    model.train()(sparse, EDGE_INDEX).sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_edge_features_are_used():
    model, x = GAT(6, 4, edge_dim=2).eval(), torch.randn(31, 6)
    edge_attr = torch.randn(EDGE_INDEX.size(1), 2)
    assert not torch.allclose(model(x, EDGE_INDEX, edge_attr), model(x, EDGE_INDEX, 2 * edge_attr))


def test_reset_parameters_draws_anew():
    model = GAT(6, 4, norm="batch", residual="linear", linear_output=True)
    before = {k: v.clone() for k, v in model.state_dict().items() if "weight" in k and v.dim() > 1}
    model.reset_parameters()
    assert before
    assert not any(torch.equal(model.state_dict()[k], v) for k, v in before.items())


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"attention": "gat3"}, "attention is 'gat3'; expected one of 'gat', 'gatv2'"),
        ({"activation": "sine"}, "activation is 'sine'"),
        ({"norm": "graph"}, "norm is 'graph'; expected one of 'none', 'batch', 'layer'"),
        ({"residual": "dense"}, "residual is 'dense'"),
        ({"jumping_knowledge": "sum"}, "jumping_knowledge is 'sum'"),
        ({"num_layers": 0}, "num_layers is 0; expected 1 or more"),
        ({"output_heads": 0}, "output_heads is 0; expected 1 or more"),
        ({"hidden_channels": 0}, "hidden_channels is 0"),
        ({"attention_dropout": 2}, "dropout is 2; expected a probability"),
        ({"feature_dropout": -1}, "feature_dropout is -1; expected a probability"),
        ({"input_dropout": 7}, "input_dropout is 7; expected a probability"),
        ({"heads": [4, 4]}, r"heads is \[4, 4\]; expected a number >= 1, or 1 of them"),
        ({"heads": 0}, "heads is 0"),
        ({"edge_dropout": 3}, "edge_dropout is 3; expected a probability"),
        ({"edge_embedding": 4}, "edge_embedding=4 encodes features of edges, and edge_dim says"),
        ({"edge_embedding": -1, "edge_dim": 2}, "edge_embedding is -1; expected 0 or more"),
        ({"target_score": False, "attention": "gatv2"}, "target_score=False leaves a term out"),
        (
            {"share_weights": True},
            "share_weights=True lets sources and targets of attention='gatv2'",
        ),
        ({"residual_output": True, "linear_output": True}, "residual_output is a skip over"),
        ({"heads": [4, 2], "jumping_knowledge": "max"}, "needs hidden layers of one width"),
    ],
    ids=str,
)
def test_impossible_options_are_refused_in_words(options, sentence):
    with pytest.raises(InputError, match=sentence):
        GAT(6, 4, **options)
