"""Options of ours that PyG's GATConv and GATv2Conv have not: value_dropout, symmetric_norm."""

import pytest
import torch

import gat.nn
from tests.nn.twins import GATS, features


@pytest.mark.parametrize("name", GATS)
def test_value_dropout_leaves_the_scores_alone(name):
    edge_index, x, _, _ = features("random")
    plain = getattr(gat.nn, name)(6, 5, 2).double()
    dropped = getattr(gat.nn, name)(6, 5, 2, value_dropout=0.5).double()
    dropped.load_state_dict(plain.state_dict())
    out, (_, weights) = plain(x, edge_index, return_attention_weights=True)
    out_dropped, (_, weights_dropped) = dropped(x, edge_index, return_attention_weights=True)
    assert torch.equal(weights, weights_dropped)
    assert not torch.allclose(out, out_dropped)
    torch.testing.assert_close(dropped.eval()(x, edge_index), out)


@pytest.mark.parametrize("name", GATS)
def test_symmetric_norm_scales_by_degrees(name):
    edge_index, x, _, _ = features("random")
    plain = getattr(gat.nn, name)(6, 5, 2, bias=False).double()
    scaled = getattr(gat.nn, name)(6, 5, 2, bias=False, symmetric_norm=True).double()
    scaled.load_state_dict(plain.state_dict())
    _, ((source, target), weights) = plain(x, edge_index, return_attention_weights=True)
    lin = plain.lin if name == "GATConv" else plain.lin_l
    value = lin(x).view(-1, 2, 5)
    degree_out = torch.bincount(source, minlength=31).double()
    degree_in = torch.bincount(target, minlength=31).double()
    factor = (degree_in[target] / degree_out[source]).sqrt()
    message = (factor[:, None] * weights).unsqueeze(-1) * value[source]
    expected = torch.zeros(31, 2, 5, dtype=torch.float64).index_add(0, target, message)
    torch.testing.assert_close(scaled(x, edge_index), expected.flatten(1))


def test_symmetric_norm_of_a_hub_fits_half_precision():
    source = torch.arange(1, 70_001)
    edge_index = torch.stack([source, torch.zeros_like(source)])
    layer = gat.nn.GATConv(1, 1, symmetric_norm=True, bias=False)
    x = torch.rand(70_001, 1)
    exact = layer(x, edge_index)[0]
    torch.testing.assert_close(
        layer.half()(x.half(), edge_index)[0].float(), exact, rtol=0.01, atol=0.01
    )
