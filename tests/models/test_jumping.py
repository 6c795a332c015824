"""`gat.models.jumping`: jumping knowledge by cells and by attention."""

import pytest
import torch
from torch import nn
from torch_geometric.explain import Explainer, GNNExplainer
from torch_geometric.nn import JumpingKnowledge

import gat
from gat.errors import InputError
from gat.models import GAT
from gat.models.jumping import JUMPS, AttentiveJump
from gat.nn.recurrent import CELLS
from tests.graphs import GRAPHS

EDGE_INDEX = GRAPHS["random"][0]
OURS = [mode for mode in JUMPS if mode not in ("none", "cat", "max", "lstm")]


def draw(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def make(mode, channels=4, layers=3):
    torch.manual_seed(0)
    return AttentiveJump(mode, channels, layers).double()


def test_every_cell_and_attention_may_join_the_layers():
    assert set(JUMPS) == {"none", "cat", "max", "attention", *CELLS}


def test_with_an_lstm_it_is_pygs_layer():
    theirs, ours = JumpingKnowledge("lstm", 4, 3).double(), make("lstm")
    ours.rnn.load_state_dict(theirs.lstm.state_dict())
    ours.query.data.copy_(theirs.att.weight)
    states = [draw(7, 4).requires_grad_() for _ in range(3)]
    out, expected = ours(states), theirs(states)
    torch.testing.assert_close(out, expected)
    grads = [torch.autograd.grad(one.square().sum(), states) for one in (out, expected)]
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other)


def slow(jump, states):
    """Node by node: states [layers][N, C]."""
    rows = []
    for node in range(states[0].size(0)):
        own = torch.stack([state[node] for state in states])
        query = jump.query.flatten()
        if jump.mode == "attention":
            v = jump.attention.score.v[0]
            scores = [v @ torch.tanh(jump.lin.weight @ one + query) for one in own]
        else:
            scores = [query @ one for one in jump.rnn(own.unsqueeze(0))[0][0]]
        weights = torch.stack(scores).exp()
        rows.append((weights / weights.sum()) @ own)
    return torch.stack(rows)


@pytest.mark.parametrize("mode", OURS)
@pytest.mark.parametrize("layers", [1, 3])
def test_each_mode_is_its_equation(mode, layers):
    jump, states = make(mode, layers=layers), [draw(5, 4) for _ in range(layers)]
    torch.testing.assert_close(jump(states), slow(jump, states))


@pytest.mark.parametrize("mode", ["attention", "janet"])
def test_gradients_are_those_of_differences(mode):
    jump = make(mode, channels=2, layers=2)
    states = [draw(3, 2).requires_grad_() for _ in range(2)]
    assert torch.autograd.gradcheck(lambda *given: jump(given), states)


@pytest.mark.parametrize("mode", OURS)
def test_batches_and_no_nodes(mode):
    jump, states = make(mode), [draw(2, 5, 4) for _ in range(3)]
    apart = torch.stack([jump([state[k] for state in states]) for k in (0, 1)])
    torch.testing.assert_close(jump(states), apart)
    assert jump([draw(0, 4)] * 3).shape == (0, 4)


@pytest.mark.parametrize("mode", OURS)
def test_gat_trains_with_it_in_both_precisions(mode):
    model = GAT(6, 4, jumping_knowledge=mode, num_layers=3, hidden_channels=2).train()
    for half in (False, True):
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            out = model(torch.randn(31, 6), EDGE_INDEX)
        out.float().sum().backward()
        assert [n for n, p in model.named_parameters() if p.grad is None] == []


def test_layers_of_several_widths_are_refused():
    with pytest.raises(InputError, match="jumping_knowledge='attention' needs hidden layers of on"):
        GAT(6, 4, jumping_knowledge="attention", num_layers=2, heads=[4, 2])


def test_reset_parameters_draws_anew():
    for mode in ("attention", "attentive-rnn"):
        jump = make(mode)
        before = {k: v.clone() for k, v in jump.state_dict().items()}
        jump.reset_parameters()
        assert [k for k, v in jump.state_dict().items() if torch.equal(v, before[k])] == []


@pytest.mark.parametrize("mode", ["attention", "attentive-rnn"])
def test_its_edges_are_none_of_the_graphs(mode):
    model, x = GAT(6, 4, jumping_knowledge=mode, num_layers=3).eval(), torch.randn(31, 6)
    with gat.record_attention(model) as attention:
        model(x, EDGE_INDEX)
    assert list(attention) == [f"hidden.{k}.conv" for k in range(3)]
    explainer = Explainer(
        model,
        GNNExplainer(epochs=1),
        explanation_type="model",
        edge_mask_type="object",
        model_config={
            "mode": "multiclass_classification",
            "task_level": "node",
            "return_type": "raw",
        },
    )
    assert explainer(x, EDGE_INDEX, index=3).edge_mask.shape == EDGE_INDEX[0].shape


def test_its_weights_are_recorded_where_they_are_asked_for():
    model, x = GAT(6, 4, jumping_knowledge="attention", num_layers=3).eval(), torch.randn(31, 6)
    out = model(x, EDGE_INDEX)
    model.jump.attention.explain = None
    states = []
    model.jump.register_forward_pre_hook(lambda module, given: states.extend(given[0]))
    with gat.record_attention(model) as attention:
        assert torch.equal(model(x, EDGE_INDEX), out)
    weights = attention["jump.attention"].weights.view(31, 3)
    joined = torch.stack(states, 1)
    torch.testing.assert_close(
        model.output(torch.einsum("nl,nlc->nc", weights, joined)), out, rtol=1e-4, atol=1e-5
    )
    assert isinstance(model.output, nn.Linear)
