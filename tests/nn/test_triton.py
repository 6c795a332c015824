"""Layers on Triton's kernels are the same layers: outputs, weights and every gradient."""

import pytest
import torch

from gat.nn import AttentionConv
from gat.nn.features import linear
from gat.ops import use_backend
from gat.ops.backend import why_not
from tests.device import DEVICE
from tests.nn.twins import EDGE_DIM, NAMES, features, options_of, ours

REASON = why_not("triton", "additive", DEVICE.type)
pytestmark = pytest.mark.skipif(bool(REASON), reason=REASON)

OPTIONS = {"heads": 2, "edge_dim": EDGE_DIM, "residual": True}


def by_both(layer, x, *rest, **options):
    """(outputs, gradients of x and of every parameter) by Triton and by the definition."""
    found = []
    for backend in ("triton", "reference"):
        x = x.detach().requires_grad_()
        with use_backend(backend):
            torch.manual_seed(3)
            out = layer(x, *rest, **options)
            weights = out[1][1] if isinstance(out, tuple) else None
            out = out[0] if isinstance(out, tuple) else out
            scale = torch.linspace(-1, 2, out.numel(), dtype=out.dtype).view_as(out)
            grads = torch.autograd.grad((out * scale).sum(), [x, *layer.parameters()])
        found.append((out.detach(), weights, *grads))
    return found


@pytest.mark.parametrize("batch", [(), (2,)], ids=["one", "batched"])
@pytest.mark.parametrize("name", NAMES)
def test_drop_ins_in_training_with_dropout(name, batch):
    edge_index, x, edge_attr, _ = features("sixty_three_edges")
    layer = ours(name, 6, 5, dropout=0.4, **OPTIONS)
    rest = [edge_attr] if "edge_dim" in options_of(name) else []
    x = torch.randn(*batch, *x.shape, dtype=x.dtype)
    torch.testing.assert_close(*by_both(layer, x, edge_index, *rest, return_attention_weights=True))


@pytest.mark.parametrize("normalizer", ["softmax", "sigmoid", "entmax15"])
@pytest.mark.parametrize("score", ["scaled_dot", "gatv2", "normed_mlp", "cosine"])
def test_attention_conv_of_any_parts(score, normalizer):
    edge_index, x, edge_attr, _ = features("sixty_three_edges")
    layer = AttentionConv(
        6, 5, heads=2, score=score, normalizer=normalizer, edge_dim=EDGE_DIM, dropout=0.4
    ).double()
    # What has no kernel of Triton's is left to what does: entmax.
    found = []
    for backend in ("triton", "reference") if normalizer != "entmax15" else ("auto", "reference"):
        with use_backend(backend):
            torch.manual_seed(3)
            found.append(layer(x, edge_index, edge_attr))
    torch.testing.assert_close(*found)


def test_sparse_features_are_multiplied_by_the_kernel_of_weighted_sums():
    x = torch.randn(9, 7, dtype=torch.float64)
    x[torch.rand(9, 7) < 0.7] = 0
    weight = torch.randn(4, 7, dtype=torch.float64, requires_grad=True)
    with use_backend("triton"):
        out = linear(x.to_sparse_csr(), weight)
        (grad,) = torch.autograd.grad(out.square().sum(), weight)
    expected = x @ weight.t()
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(grad, torch.autograd.grad(expected.square().sum(), weight)[0])
