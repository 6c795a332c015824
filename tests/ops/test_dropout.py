"""Dropout by a counter: the share, the stream, its independence of everything but seed and edge."""

import math
import os
import shutil

import pytest
import torch

from gat.errors import InputError
from gat.ops import additive_attention, draw_seed, keep_mask
from tests.ops.inputs import OPERATORS, graph, inputs


@pytest.mark.parametrize("p", [0.0, 0.25, 0.6, 1.0])
def test_dropout_drops_its_share_and_scales_the_rest(p):
    on = graph("hub")
    t = inputs("additive", on, 64, 1)
    _, plain = additive_attention(on, **t, return_weights=True)
    _, dropped = additive_attention(on, **t, dropout=p, seed=torch.tensor(3), return_weights=True)
    kept = dropped != 0
    torch.testing.assert_close(dropped[kept], (plain / (1 - p))[kept] if p < 1 else plain[kept])
    # 97 * 64 draws: five standard deviations.
    assert abs(kept.double().mean() - (1 - p)) <= 5 * math.sqrt(p * (1 - p) / kept.numel())


@pytest.mark.parametrize("operator", OPERATORS)
def test_dropout_does_not_depend_on_how_edges_are_stored(operator):
    """The mask belongs to the listed edge number, whatever order the edges are sorted in."""
    on = graph("random")
    t = inputs(operator, on, 2, 3)
    seed = torch.tensor(11)
    _, weights = OPERATORS[operator](on, **t, dropout=0.5, seed=seed, return_weights=True)
    assert torch.equal(weights != 0, keep_mask(seed, on.num_edges, 2, 0.5))


def test_mask_is_splitmix64():
    """The first draws of SplitMix64 from seed 0, as its authors' code prints them."""
    first = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F, 0xF88BB8A8724C81EC]
    for p in (0.02, 0.4, 0.5, 0.9, 0.95):
        kept = [draw / 2**64 >= p for draw in first]
        assert keep_mask(torch.tensor(0), 4, 1, p).flatten().tolist() == kept


def test_mask_is_the_same_drawn_in_parts(monkeypatch):
    seed = torch.tensor(2**62 + 12345)
    whole = keep_mask(seed, 50, 3, 0.5)
    monkeypatch.setattr("gat.ops.dropout.PART", 7)
    assert torch.equal(keep_mask(seed, 50, 3, 0.5), whole)


def test_mask_continues_over_heads():
    seed = torch.tensor(-5)
    assert torch.equal(keep_mask(seed, 6, 4, 0.5).flatten(), keep_mask(seed, 24, 1, 0.5).flatten())


def test_masks_of_neighbouring_heads_edges_and_seeds_are_uncorrelated():
    mask = torch.stack([keep_mask(torch.tensor(s), 5000, 8, 0.5) for s in (1, 2)]).double() - 0.5
    bound = 5 * 0.25 / math.sqrt(mask[0].numel())
    assert abs((mask[0] * mask[1]).mean()) < bound
    assert abs((mask[:, 1:] * mask[:, :-1]).mean()) < bound
    assert abs((mask[:, :, 1:] * mask[:, :, :-1]).mean()) < bound


def test_manual_seed_rules():
    on = graph("random")
    t = inputs("additive", on, 2, 3)
    torch.manual_seed(5)
    first = additive_attention(on, **t, dropout=0.5)
    second = additive_attention(on, **t, dropout=0.5)
    torch.manual_seed(5)
    assert torch.equal(additive_attention(on, **t, dropout=0.5), first)
    assert not torch.equal(first, second)
    assert draw_seed().dtype == torch.int64


@pytest.mark.skipif(
    shutil.which(os.environ.get("CXX", "g++")) is None, reason="torch.compile needs a C++ compiler"
)
@pytest.mark.parametrize("size", [(25, 2), (999, 8), (13, 1)])
def test_mask_compiled_to_machine_code_is_the_mask(size):
    """Sizes that are no multiple of a vector: index arithmetic that overflows corrupts memory."""
    seed = torch.tensor(2**62 + 12345)
    compiled = torch.compile(lambda seed: keep_mask(seed, *size, 0.5))
    assert torch.equal(compiled(seed), keep_mask(seed, *size, 0.5))


@pytest.mark.skipif(
    shutil.which(os.environ.get("CXX", "g++")) is None, reason="torch.compile needs a C++ compiler"
)
@pytest.mark.parametrize("backend", ["reference", "blockwise"])
def test_a_number_as_seed_is_compiled_to_machine_code(backend):
    """A constant to the compiler, which refuses to fold what overflows."""
    on = graph("random")
    _ = on.edge_index
    t = inputs("additive", on, 2, 3)
    run = torch.compile(additive_attention, fullgraph=True, dynamic=True)
    options = {"dropout": 0.5, "seed": 2**62 + 3, "backend": backend}
    torch.testing.assert_close(run(on, **t, **options), additive_attention(on, **t, **options))


def test_a_seed_may_be_a_number_and_must_be_one():
    on = graph("random")
    t = inputs("additive", on, 2, 3)
    by_tensor = additive_attention(on, **t, dropout=0.5, seed=torch.tensor(7))
    assert torch.equal(additive_attention(on, **t, dropout=0.5, seed=7), by_tensor)
    for seed in (0.5, torch.arange(3)):
        with pytest.raises(InputError, match=r"seed has dtype .*; expected one int64 number"):
            additive_attention(on, **t, dropout=0.5, seed=seed)
