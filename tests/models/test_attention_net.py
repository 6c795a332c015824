"""`AttentionNet`: its order of parts, its options, its ablation."""

import pytest
import torch

import gat
from gat.errors import InputError
from gat.models import AttentionNet
from gat.nn.images import ConvBlock, ResBlock, SelfAttention

WIDTHS = (4, 8, 16)


def net(**options):
    return AttentionNet(1, 3, **{"widths": WIDTHS, **options}).double()


def open_eyed(model):
    with torch.no_grad():
        model.look.gamma.fill_(0.5)
    return model


def digits(count=2, height=8, width=8):
    return torch.randn(count, 1, height, width, dtype=torch.float64)


def test_default_widths_are_the_issues():
    model = AttentionNet()
    assert [block.second.conv.out_channels for block in model.blocks] == [64, 128, 256]
    assert model.look.query.out_features == 256 // 8
    assert model(torch.randn(2, 1, 8, 8)).shape == (2, 10)


@pytest.mark.parametrize("place", ["after", "before"])
def test_parts_stand_in_their_order(place):
    model = open_eyed(net(attention=place)).eval()
    x = digits()
    out = model.first(x)
    steps = [model.look, *model.blocks] if place == "before" else [*model.blocks, model.look]
    for step in steps:
        out = step(out)
    expected = torch.stack([image.flatten(1).mean(1) for image in out])
    expected = expected @ model.output.weight.t() + model.output.bias
    torch.testing.assert_close(model(x), expected)
    kinds = [type(part) for part in (model.first, *steps)]
    blocks = [ResBlock] * 3
    middle = [SelfAttention, *blocks] if place == "before" else [*blocks, SelfAttention]
    assert kinds == [ConvBlock, *middle]


def test_attention_pools():
    model = net(attention="pool").eval()
    x = digits()
    pooled = model.pool(model.blocks(model.first(x)))
    torch.testing.assert_close(model(x), model.output(pooled))


@pytest.mark.parametrize("place", ["after", "before"])
def test_gamma_zero_is_the_network_without_attention(place):
    fixed, plain = net(attention=place, gamma="zero"), net(attention="none")
    left = fixed.load_state_dict(plain.state_dict(), strict=False)
    assert left.unexpected_keys == []
    assert all(key.startswith("look.") for key in left.missing_keys)
    x = digits(4)
    torch.testing.assert_close(fixed(x), plain(x))
    fixed(x).square().sum().backward()
    assert fixed.look.value.weight.grad.eq(0).all()


@pytest.mark.parametrize(
    "options",
    [{}, {"attention": "before", "radius": 1}, {"attention": "pool"}, {"attention": "none"}],
    ids=str,
)
def test_a_batch_is_each_image_alone(options):
    model = net(**options).eval()
    x = digits(3, 7, 5)
    torch.testing.assert_close(model(x), torch.cat([model(one[None]) for one in x]))


@pytest.mark.parametrize("size", [(1, 1), (1, 6), (8, 8), (9, 4)], ids=str)
@pytest.mark.parametrize("strides", [(1, 1, 1), (1, 2, 1), (2, 2, 2)], ids=str)
def test_strides_leave_these_pixels(strides, size):
    model = net(strides=strides).eval()
    with gat.record_attention(model) as attention:
        out = model(digits(2, *size))
    sides = list(size)
    for stride in strides:
        sides = [-(-side // stride) for side in sides]
    assert out.shape == (2, 3)
    assert attention["look.attention"].num_dst == 2 * sides[0] * sides[1]


def test_one_residual_block_and_dropout():
    model = net(widths=[4], strides=[2], dropout=0.5)
    x = digits()
    model.train()
    assert not torch.equal(model(x), model(x))
    model.eval()
    assert torch.equal(model(x), model(x))


@pytest.mark.parametrize("attention", ["after", "before", "pool"])
def test_a_step_moves_every_parameter_that_hears_of_it(attention):
    model = net(attention=attention)
    if attention != "pool":
        open_eyed(model)
    model(digits(5)).square().sum().backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []


def test_options_make_the_network_again():
    model = net(attention="before", radius=2, dropout=0.1)
    again = AttentionNet(**model.options).double().eval()
    again.load_state_dict(model.state_dict())
    x = digits()
    assert torch.equal(again(x), model.eval()(x))


def test_options_are_refused_that_do_not_fit():
    with pytest.raises(InputError, match="attention is 'middle'; expected one of 'after'"):
        net(attention="middle")
    with pytest.raises(InputError, match=r"widths is .* and strides \(1, 2\); expected one of"):
        net(strides=(1, 2))
    with pytest.raises(InputError, match=r"^radius=1 is of .* attention='pool' has not"):
        net(attention="pool", radius=1)
    with pytest.raises(InputError, match=r"^gamma='zero' is of .* attention='none' has not"):
        net(attention="none", gamma="zero")


def test_reset_parameters_draws_anew():
    net = AttentionNet(widths=(4, 4, 4))
    before = {name: weight.clone() for name, weight in net.named_parameters()}
    with torch.no_grad():
        net.look.gamma.fill_(1)
    net.reset_parameters()
    assert float(net.look.gamma.detach()) == 0
    kept = [n for n, weight in net.named_parameters() if torch.equal(weight, before[n])]
    # Those that every new network starts with alike: scales of 1, and what starts at 0.
    assert not [name for name in kept if before[name].dim() > 1]
