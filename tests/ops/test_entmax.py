"""Entmax over a target's edges: against the definition's own package, and what must hold of it."""

import functools

import pytest
import torch
from entmax import entmax15, entmax_bisect, sparsemax
from hypothesis import given, settings
from hypothesis import strategies as st

from gat.errors import ArgumentTypeError, InputError
from gat.graph import Graph
from gat.ops import cpu, segment_entmax, segment_softmax
from gat.ops.blockwise import entmax as blockwise_entmax
from tests.graphs import GRAPHS
from tests.ops.inputs import FAST, graph

BACKENDS = ["reference", *FAST]
AWKWARD = ["no_edges", "loops_and_duplicates", "hub", "isolated_nodes", "random"]
ALPHAS = [1.2, 1.5, 1.9, 2.0, 2.5]
bisect = functools.partial(entmax_bisect, n_iter=90)

# alpha -> the same of one target's scores [edges, H], by the entmax package
PACKAGE = {
    1.3: functools.partial(bisect, alpha=1.3, dim=0),
    1.5: functools.partial(entmax15, dim=0),
    2.0: functools.partial(sparsemax, dim=0),
    2.5: functools.partial(bisect, alpha=2.5, dim=0),
}


def draw(on: Graph, heads: int = 2, spread: float = 2.0) -> torch.Tensor:
    return spread * torch.randn(on.num_edges, heads, dtype=torch.float64)


def sums(on: Graph, weights: torch.Tensor) -> torch.Tensor:
    """Of the targets that have edges."""
    total = weights.new_zeros(on.num_dst, weights.size(1)).index_add(0, on.edge_index[1], weights)
    return total[on.in_degree > 0]


# The definition -----------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", PACKAGE)
@pytest.mark.parametrize("name", AWKWARD)
@pytest.mark.parametrize("backend", BACKENDS)
def test_each_target_has_the_entmax_of_its_scores(backend, name, alpha):
    on = graph(name)
    scores = draw(on).requires_grad_()
    weights = segment_entmax(on, scores, alpha, backend=backend)
    expected = 0 * scores
    for target in on.edge_index[1].unique():
        here = on.edge_index[1] == target
        expected[here] = PACKAGE[alpha](scores[here])
    torch.testing.assert_close(weights, expected)
    assert torch.equal(weights == 0, expected == 0)
    upstream = torch.randn_like(weights)
    grads = [torch.autograd.grad(w, scores, upstream)[0] for w in (weights, expected)]
    torch.testing.assert_close(*grads)


@pytest.mark.parametrize("backend", BACKENDS)
def test_gradient_of_a_learned_alpha_is_the_packages(backend):
    on = graph("hub")
    scores, upstream = draw(on), draw(on)
    alpha = torch.tensor([1.2, 1.7], dtype=torch.float64, requires_grad=True)
    ours = segment_entmax(on, scores, alpha, backend=backend)
    theirs = bisect(scores, alpha[None], dim=0)
    grads = [torch.autograd.grad(w, alpha, upstream)[0] for w in (ours, theirs)]
    torch.testing.assert_close(*grads)


@pytest.mark.parametrize("alphas", [(1.1, 1.5), (2.0, 2.4)], ids=str)
@pytest.mark.parametrize("backend", BACKENDS)
def test_gradients_and_second_gradients_by_scores_and_alpha(backend, alphas):
    on = graph("loops_and_duplicates")
    torch.manual_seed(1)
    leaves = draw(on, spread=1).requires_grad_(), torch.tensor(alphas).double().requires_grad_()

    def run(scores, alpha):
        return segment_entmax(on, scores, alpha, backend=backend)

    assert torch.autograd.gradcheck(run, leaves)
    assert torch.autograd.gradgradcheck(run, leaves)


@pytest.mark.parametrize("backend", BACKENDS)
def test_near_one_it_is_softmax_and_alphas_gradient_stays_exact(backend):
    on = graph("random")
    scores, upstream = draw(on).float(), draw(on).float()
    weights = segment_entmax(on, scores, 1 + 1e-5, backend=backend)
    torch.testing.assert_close(weights, segment_softmax(on, scores), atol=1e-4, rtol=1e-4)
    found = []
    for by, dtype in ((backend, torch.float32), ("reference", torch.float64)):
        alpha = torch.tensor([1.01, 1.001], dtype=dtype, requires_grad=True)
        out = segment_entmax(on, scores.to(dtype), alpha, backend=by)
        found.append(torch.autograd.grad(out, alpha, upstream.to(dtype))[0].double())
    torch.testing.assert_close(*found, atol=2e-2, rtol=1e-3)


@pytest.mark.parametrize("backend", BACKENDS)
def test_each_head_has_its_own_alpha(backend):
    on = graph("random")
    scores = draw(on, 5)
    together = segment_entmax(on, scores, torch.tensor(ALPHAS), backend=backend)
    for head, alpha in enumerate(ALPHAS):
        alone = segment_entmax(on, scores[:, [head]], torch.tensor(alpha), backend=backend)
        # A tensor of float32 holds another 1.2 than Python does, and scores of float64 feel it.
        torch.testing.assert_close(together[:, [head]], alone)
        number = segment_entmax(on, scores[:, [head]], alpha, backend=backend)
        torch.testing.assert_close(alone, number, atol=1e-6, rtol=1e-5)


# Masks, overflows, NaN ----------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", PACKAGE)
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_score_of_minus_infinity_is_a_mask_and_gets_no_gradient(backend, alpha):
    on = graph("loops_and_duplicates")
    scores = draw(on)
    scores[on.edge_index[1] == 1] = -torch.inf
    scores[0, 0] = -torch.inf
    scores.requires_grad_()
    per_head = torch.full((2,), alpha, dtype=torch.float64, requires_grad=True)
    weights = segment_entmax(on, scores, per_head, backend=backend)
    masked = scores == -torch.inf
    assert (weights[masked] == 0).all()
    left = sums(on, weights)
    torch.testing.assert_close(left, torch.tensor([[1.0, 1], [0, 0], [1, 1]]).double())
    weights.square().sum().backward()
    assert scores.grad.isfinite().all()
    assert per_head.grad.isfinite().all()
    assert (scores.grad[masked] == 0).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("backend", BACKENDS)
def test_plus_infinity_is_the_largest_number_and_no_difference_overflows(backend, dtype):
    on = graph("hub")
    for alpha in PACKAGE:
        scores = torch.full((97, 1), -torch.finfo(dtype).max, dtype=dtype)
        scores[3], scores[5] = torch.inf, torch.finfo(dtype).max
        weights = segment_entmax(on, scores, alpha, backend=backend)
        assert weights.flatten().nonzero().flatten().tolist() == [3, 5]
        torch.testing.assert_close(weights[[3, 5], 0], torch.full((2,), 0.5, dtype=dtype))


@pytest.mark.parametrize("alpha", PACKAGE)
@pytest.mark.parametrize("backend", BACKENDS)
def test_nan_spoils_its_target_and_no_other(backend, alpha):
    on = graph("random")
    scores = draw(on)
    scores[7, 1] = torch.nan
    weights = segment_entmax(on, scores, alpha, backend=backend)
    spoilt = on.edge_index[1] == on.edge_index[1, 7]
    assert weights[spoilt, 1].isnan().all()
    assert weights[~spoilt].isfinite().all()
    assert weights[:, 0].isfinite().all()


# Properties ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**20),
    edges=st.integers(0, 60),
    alpha=st.floats(1.01, 2.6) | st.sampled_from([1.5, 2.0]),
    spread=st.sampled_from([0.0, 1e-3, 1.0, 30.0, 1e4]),
)
def test_weights_are_a_distribution_that_knows_no_constant_and_no_order(
    backend, seed, edges, alpha, spread
):
    torch.manual_seed(seed)
    edge_index = torch.randint(7, (2, edges))
    on = Graph.from_edge_index(edge_index, 7)
    scores = draw(on, 2, spread)
    weights = segment_entmax(on, scores, alpha, backend=backend)
    assert (weights >= 0).all()
    torch.testing.assert_close(sums(on, weights), torch.ones_like(sums(on, weights)))

    # Powers of two: nothing is rounded away that the weights would show.
    constant = torch.randint(-4, 4, (7, 2)).double()
    moved = segment_entmax(on, scores + constant[on.edge_index[1]], alpha, backend=backend)
    torch.testing.assert_close(moved, weights, atol=1e-6, rtol=1e-6)

    order = torch.randperm(edges)
    other = Graph.from_edge_index(edge_index[:, order], 7)
    permuted = segment_entmax(other, scores[order], alpha, backend=backend)
    torch.testing.assert_close(permuted, weights[order], atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_higher_score_never_has_a_lower_weight_and_a_larger_alpha_is_sparser(backend):
    on = graph("hub")
    scores = draw(on, 1)
    order = scores[:, 0].argsort()
    support = []
    for alpha in (1.05, *PACKAGE, 4.0):
        weights = segment_entmax(on, scores, alpha, backend=backend)[order, 0]
        assert (weights.diff() >= 0).all()
        support.append(int((weights > 0).sum()))
    assert support == sorted(support, reverse=True)
    assert support[0] > support[-1]


# Sizes and dtypes ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("backend", BACKENDS)
def test_sixteen_bits_are_computed_in_thirty_two(backend, dtype):
    for name in GRAPHS:
        on = graph(name)
        scores = draw(on).to(dtype).requires_grad_()
        wide = scores.detach().float().requires_grad_()
        alpha = torch.tensor([1.3, 1.5], requires_grad=True)
        upstream = torch.randn(scores.shape).to(dtype)
        narrow = segment_entmax(on, scores, alpha, backend=backend)
        assert narrow.dtype is dtype
        ours = torch.autograd.grad(narrow, (scores, alpha), upstream)
        result = segment_entmax(on, wide, alpha, backend=backend)
        theirs = torch.autograd.grad(result, (wide, alpha), upstream.float())
        assert torch.equal(narrow, result.to(dtype))
        assert torch.equal(ours[0], theirs[0].to(dtype))
        assert torch.equal(ours[1], theirs[1])


@pytest.mark.parametrize("spread", [1e-4, 1.0], ids=["nearly_equal", "normal"])
@pytest.mark.parametrize("alpha", PACKAGE)
@pytest.mark.parametrize("backend", FAST)
def test_a_hub_in_float32(backend, alpha, spread):
    count = 150_001
    hub = torch.stack([torch.arange(1, count + 1), torch.zeros(count, dtype=torch.int64)])
    on = Graph.from_edge_index(hub, count + 1)
    torch.manual_seed(3)
    scores = draw(on, 1, spread).float()
    weights = segment_entmax(on, scores, alpha, backend=backend)
    expected = segment_entmax(on, scores.double(), alpha, backend=backend)
    # torch adds float32 up one by one.
    assert abs(float(weights.double().sum()) - 1) < (1e-5 if backend == "cpu" else 1e-3)
    largest = float(expected.max())
    torch.testing.assert_close(weights.double(), expected, atol=1e-3 * largest, rtol=1e-3)


@pytest.mark.skipif("cpu" not in FAST, reason=str(cpu.status()))
@pytest.mark.parametrize("alpha", [1.3, 1.5, 2.0, 3.0])
def test_scores_that_make_newton_slow_do_not_take_for_ever(alpha):
    """Scores of which a step of Newton's drops one at a time, if nothing else is done."""
    count = 200_000
    hub = torch.stack([torch.arange(1, count + 1), torch.zeros(count, dtype=torch.int64)])
    on = Graph.from_edge_index(hub, count + 1)
    steps = torch.arange(1, count + 1, dtype=torch.float64)
    for scores in (-steps.log() / 10, -1 + 1 / steps, 1 / steps**0.5):
        weights = segment_entmax(on, scores[:, None], alpha, backend="cpu")
        assert abs(float(weights.sum()) - 1) < 1e-9


@pytest.mark.skipif("cpu" not in FAST, reason=str(cpu.status()))
def test_the_same_bits_on_one_thread_and_on_two():
    torch.manual_seed(4)
    source, target = torch.randint(3000, (2, 30_000))
    target[:20_000] = 7
    on = Graph.from_edge_index(torch.stack([source, target]), 3000)
    leaves = draw(on, 5).float().requires_grad_(), torch.tensor(ALPHAS, requires_grad=True)
    upstream = torch.randn(30_000, 5)
    found, before = [], torch.get_num_threads()
    for threads in (1, 2, 2, 7):
        torch.set_num_threads(threads)
        weights = segment_entmax(on, *leaves, backend="cpu")
        found.append((weights, *torch.autograd.grad(weights, leaves, upstream)))
    torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))
    in_64 = [x.detach().double().requires_grad_() for x in leaves]
    expected = segment_entmax(on, *in_64, backend="reference")
    torch.testing.assert_close(found[0][0].double(), expected, atol=1e-5, rtol=1e-4)


def test_the_operator_in_torch_passes_opcheck():
    on = graph("random")
    scores, alpha = draw(on).requires_grad_(), torch.tensor([1.4, 2.0]).double().requires_grad_()
    torch.library.opcheck(blockwise_entmax._entmax, (scores, alpha, on.edge_index[1], 31))


# Calls --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("alpha", "error", "sentence"),
    [
        (1.0, InputError, r"alpha is 1\.0; expected numbers above 1 .*segment_softmax"),
        (float("nan"), InputError, "alpha is nan; expected numbers above 1"),
        (float("inf"), InputError, "alpha is inf; expected numbers above 1"),
        (torch.tensor([1.5, 0.5]), InputError, r"alpha is \[1\.5, 0\.5\]; expected numbers above"),
        (torch.tensor([1.5, torch.inf]), InputError, r"alpha is \[1\.5, inf\]; expected numbers"),
        (torch.tensor([1.5] * 3), InputError, r"alpha has shape \[3\]; expected \[2\]"),
        (torch.tensor([2, 2]), ArgumentTypeError, "alpha has dtype torch.int64; expected a float"),
        (torch.ones(2, device="meta"), InputError, "alpha is on meta, scores on cpu; move one"),
        ("2", ArgumentTypeError, "alpha is '2'; expected a number or a tensor"),
    ],
)
def test_bad_alphas_are_refused_in_words(alpha, error, sentence):
    on = graph("random")
    with pytest.raises(error, match=sentence):
        segment_entmax(on, torch.zeros(211, 2), alpha)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_number_and_one_learned_for_all_heads(backend):
    on = graph("random")
    scores = draw(on)
    alpha = torch.tensor(1.7, dtype=torch.float64, requires_grad=True)
    weights = segment_entmax(on, scores, alpha, backend=backend)
    torch.testing.assert_close(weights, segment_entmax(on, scores, 1.7, backend=backend))
    (grad,) = torch.autograd.grad(weights.square().sum(), alpha)
    assert grad.shape == ()
    assert segment_entmax(on, scores, 2, backend=backend).dtype is torch.float64


@pytest.mark.parametrize("backend", FAST)
def test_compiled_with_a_number_for_alpha(backend):
    on = graph("random")
    _ = on.edge_index
    run = torch.compile(segment_entmax, fullgraph=True, backend="aot_eager")
    scores = draw(on)
    for alpha in (1.5, 1.25):
        torch.testing.assert_close(
            run(on, scores, alpha, backend=backend),
            segment_entmax(on, scores, alpha, backend=backend),
        )
