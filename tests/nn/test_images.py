"""Blocks over images: against plain torch, and attention of pixels against its equations."""

import pytest
import torch
import torch.nn.functional as F

import gat
from gat.errors import InputError
from gat.nn.images import AttentionPool2d, ConvBlock, ResBlock, SelfAttention

SIZES = {"one_pixel": (1, 1), "row": (1, 5), "wide": (2, 3), "tall": (5, 2), "square": (4, 4)}
of_sizes = pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
RADII = [None, 0, 1, 2]


def images_of(count, channels, size):
    return torch.randn(count, channels, *size, dtype=torch.float64)


def seeing(channels, **options):
    """Self-attention that is not at its start, where it sees nothing."""
    layer = SelfAttention(channels, **options).double()
    with torch.no_grad():
        layer.gamma.fill_(0.7)
    return layer


def normalised(norm, x):
    """Batch normalisation in training, by its definition."""
    mean = x.mean(dim=(0, 2, 3), keepdim=True)
    variance = ((x - mean) ** 2).mean(dim=(0, 2, 3), keepdim=True)
    scale, shift = (one[None, :, None, None] for one in (norm.weight, norm.bias))
    return (x - mean) / (variance + norm.eps).sqrt() * scale + shift


def redrawn(block):
    """A block whose normalisation scales and shifts."""
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return block.double()


@of_sizes
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (1, 1), (1, 3), (5, 2)])
def test_conv_block_is_its_parts(kernel, stride, size):
    block = redrawn(ConvBlock(2, 3, kernel, stride))
    x = images_of(4, 2, size)
    conv = F.conv2d(x, block.conv.weight, None, stride, kernel // 2)
    assert conv.shape[2:] == tuple(-(-side // stride) for side in size)
    torch.testing.assert_close(block(x), normalised(block.norm, conv).clamp(min=0))


def test_conv_block_takes_another_activation_or_none():
    x = images_of(4, 2, (3, 3))
    for activation, shown in ((torch.tanh, torch.tanh), (None, lambda x: x)):
        block = ConvBlock(2, 3, activation=activation).double()
        torch.testing.assert_close(block(x), shown(normalised(block.norm, block.conv(x))))


@of_sizes
@pytest.mark.parametrize(
    ("channels", "stride"), [(3, 1), (3, 2), (5, 1), (5, 2)], ids=["same", "half", "wider", "both"]
)
def test_res_block_is_its_parts(channels, stride, size):
    block = redrawn(ResBlock(3, channels, stride))
    x = images_of(4, 3, size)

    def conv(part, x, stride=1):
        padding = part.conv.kernel_size[0] // 2
        return normalised(part.norm, F.conv2d(x, part.conv.weight, None, stride, padding))

    inner = conv(block.second, conv(block.first, x, stride).clamp(min=0))
    same = channels == 3 and stride == 1
    kept = x if same else conv(block.shortcut, x, stride)
    torch.testing.assert_close(block(x), (inner + kept).clamp(min=0))


def seen(layer, image):
    """Zhang et al. 2019, eq. 1-3, pixel by pixel, for an image [C, height, width]."""
    _, height, width = image.shape
    reach = max(height, width) if layer.radius is None else layer.radius
    out = torch.zeros_like(image)
    for y in range(height):
        for x in range(width):
            rows = range(max(0, y - reach), min(height, y + reach + 1))
            columns = range(max(0, x - reach), min(width, x + reach + 1))
            near = [image[:, v, u] for v in rows for u in columns]
            query = layer.query.weight @ image[:, y, x]
            powers = [torch.exp(query @ (layer.key.weight @ pixel)) for pixel in near]
            total = sum(powers)
            for power, pixel in zip(powers, near, strict=True):
                out[:, y, x] += power / total * (layer.value.weight @ pixel)
    return layer.gamma * out + image


@of_sizes
@pytest.mark.parametrize("radius", RADII)
def test_self_attention_is_its_equations(radius, size):
    layer = seeing(16, radius=radius)
    x = images_of(2, 16, size)
    torch.testing.assert_close(layer(x), torch.stack([seen(layer, image) for image in x]))


@pytest.mark.parametrize("radius", RADII)
def test_self_attention_is_dense_attention_with_a_mask(radius):
    layer, (height, width) = seeing(8, radius=radius), (5, 7)
    x = images_of(3, 8, (height, width)).requires_grad_()
    pixels = x.flatten(2).transpose(1, 2)
    row = torch.arange(height).repeat_interleave(width)
    column = torch.arange(width).repeat(height)
    away = torch.maximum((row[:, None] - row).abs(), (column[:, None] - column).abs())
    near = torch.ones_like(away, dtype=torch.bool) if radius is None else away <= radius
    out = F.scaled_dot_product_attention(
        layer.query(pixels), layer.key(pixels), layer.value(pixels), near, scale=1.0
    )
    expected = layer.gamma * out.transpose(1, 2).view_as(x) + x
    got = layer(x)
    torch.testing.assert_close(got, expected)
    wanted = [x, *layer.parameters()]
    scale = torch.linspace(-1, 2, got.numel(), dtype=got.dtype).view_as(got)
    pair = (torch.autograd.grad((out * scale).sum(), wanted) for out in (got, expected))
    torch.testing.assert_close(*pair)


@pytest.mark.parametrize("gamma", ["learned", "zero"])
def test_self_attention_starts_as_the_identity(gamma):
    layer = SelfAttention(16, gamma=gamma)
    x = torch.randn(2, 16, 3, 4)
    assert torch.equal(layer(x), x)


def test_self_attention_learns_gamma_first():
    layer = SelfAttention(16)
    x = torch.randn(2, 16, 3, 4)
    layer(x).square().sum().backward()
    assert layer.gamma.grad != 0
    # While gamma is 0 nothing else is told how to change.
    assert all((part.weight.grad == 0).all() for part in (layer.query, layer.key, layer.value))


def test_self_attention_with_gamma_zero_has_none_to_learn():
    fixed, free = SelfAttention(16, gamma="zero"), SelfAttention(16)
    assert "gamma" not in dict(fixed.named_parameters())
    assert fixed.state_dict().keys() == free.state_dict().keys()


def test_self_attention_reset_goes_back_to_the_start():
    layer = seeing(16)
    before = [one.clone() for one in layer.parameters()]
    layer.reset_parameters()
    assert layer.gamma == 0
    assert not any(torch.equal(*pair) for pair in zip(before, layer.parameters(), strict=True))


@pytest.mark.parametrize(("channels", "ratio", "inner"), [(64, 8, 8), (4, 8, 1), (7, 2, 3)])
def test_self_attention_narrows_queries_and_keys(channels, ratio, inner):
    layer = seeing(channels, ratio=ratio)
    assert layer.query.weight.shape == layer.key.weight.shape == (inner, channels)
    assert layer.value.weight.shape == (channels, channels)
    x = images_of(1, channels, (2, 3))
    torch.testing.assert_close(layer(x)[0], seen(layer, x[0]))


@pytest.mark.parametrize("radius", RADII)
def test_self_attention_of_a_batch_is_each_alone(radius):
    layer = seeing(8, radius=radius)
    x = images_of(3, 8, (3, 5))
    torch.testing.assert_close(layer(x), torch.cat([layer(one[None]) for one in x]))
    assert layer(x[:0]).shape == (0, 8, 3, 5)


@pytest.mark.parametrize("radius", [None, 1])
def test_self_attention_has_the_gradients_of_its_output(radius):
    layer = seeing(4, radius=radius, ratio=2)
    names = [name for name, _ in layer.named_parameters()]

    def run(x, *parameters):
        return torch.func.functional_call(layer, dict(zip(names, parameters, strict=True)), (x,))

    inputs = [images_of(2, 4, (2, 3)), *layer.parameters()]
    assert torch.autograd.gradcheck(run, [one.detach().requires_grad_() for one in inputs])


def test_self_attention_takes_other_scores_and_normalizers():
    layer = seeing(8, score="mlp", normalizer="sparsemax")
    x = images_of(1, 8, (1, 1)).expand(2, -1, 3, 3)
    # Of one value the mean is that value, whatever the weights.
    expected = layer.gamma * torch.einsum("oc,bchw->bohw", layer.value.weight, x) + x
    torch.testing.assert_close(layer(x), expected)


def test_record_attention_hears_every_image():
    layer = seeing(16, radius=1)
    x = images_of(2, 16, (3, 2))
    with gat.record_attention(layer) as attention:
        layer(x)
    record = attention["attention"]
    assert record.num_dst == 12
    source, target = record.edge_index
    assert torch.equal(source // 6, target // 6)
    # A corner of a 3x2 image has 4 pixels in reach; of the second image, pixel 6.
    own = target == 6
    assert source[own].tolist() == [6, 7, 8, 9]
    query = layer.query(x[1, :, 0, 0])
    scores = torch.stack([layer.key(x[1, :, k // 2, k % 2]) @ query for k in range(4)])
    torch.testing.assert_close(record.weights[own, 0], scores.softmax(0))


@of_sizes
@pytest.mark.parametrize("heads", [1, 2])
def test_attention_pool_is_its_equations(heads, size):
    layer = AttentionPool2d(4, heads).double()
    x = images_of(3, 4, size)
    out, width = layer(x), 4 // heads
    for b, image in enumerate(x):
        pixels = image.flatten(1).t()
        hidden = torch.tanh(
            F.linear(pixels, layer.pooling.hidden.weight, layer.pooling.hidden.bias)
        )
        for h in range(heads):
            part = slice(h * width, (h + 1) * width)
            weights = (hidden[:, part] @ layer.pooling.query[h]).softmax(0)
            torch.testing.assert_close(out[b, part], weights @ pixels[:, part])


def test_attention_pool_of_a_batch_is_each_alone():
    layer = AttentionPool2d(4).double()
    x = images_of(3, 4, (2, 5))
    torch.testing.assert_close(layer(x), torch.cat([layer(one[None]) for one in x]))
    assert layer(x[:0]).shape == (0, 4)


def test_attention_pool_has_the_gradients_of_its_output():
    layer = AttentionPool2d(4, 2).double()
    assert torch.autograd.gradcheck(layer, [images_of(2, 4, (2, 3)).requires_grad_()])


def test_record_attention_hears_a_pooling():
    layer = AttentionPool2d(4)
    with gat.record_attention(layer) as attention:
        layer(torch.randn(2, 4, 3, 2))
    record = attention["pooling.attention"]
    assert record.edge_index[1].tolist() == [0] * 6 + [1] * 6
    torch.testing.assert_close(record.weights.view(2, 6).sum(1), torch.ones(2))


def test_images_are_refused_that_do_not_fit():
    with pytest.raises(InputError, match=r"SelfAttention: images have shape \[2, 3, 4, 4\]; .* 8"):
        SelfAttention(8)(torch.randn(2, 3, 4, 4))
    with pytest.raises(InputError, match=r"AttentionPool2d: images have shape \[8, 4, 4\]"):
        AttentionPool2d(8)(torch.randn(8, 4, 4))
    with pytest.raises(InputError, match="gamma is 'one'; expected one of 'learned', 'zero'"):
        SelfAttention(8, gamma="one")
    with pytest.raises(InputError, match="radius is -1; expected 0 or more, or None"):
        SelfAttention(8, radius=-1)
    with pytest.raises(InputError, match="kernel_size is 2; expected an odd number"):
        ConvBlock(1, 1, 2)
    with pytest.raises(InputError, match="ratio is 0; expected 1 or more"):
        SelfAttention(8, ratio=0)
