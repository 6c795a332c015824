"""Topologies: the edges their names say, in every array; attention on them is torch's own."""

import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate, product

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._dynamo.testing import CompileCounterWithBackend
from torch.utils._python_dispatch import TorchDispatchMode

from gat import topology
from gat.errors import InputError
from gat.graph import Blocks, Graph, IntervalGraph
from gat.nn import Attend, AttentionConv
from gat.ops import dot_attention
from tests.graph.same import assert_same, sorted_graph
from tests.ops.inputs import FAST

LENGTHS = st.lists(st.integers(0, 6), max_size=4)
SMALL = settings(deadline=None, max_examples=25)


def starts(lengths):
    return [0, *accumulate(lengths)][:-1]


def by_definition(holds, sources, targets=None):
    """The graph of all pairs of a block for which ``holds(j, i, block)``, in loops."""
    targets = sources if targets is None else targets
    places = zip(starts(sources), sources, starts(targets), targets, strict=True)
    edges = [
        (first + j, first_target + i)
        for block, (first, num_src, first_target, num_dst) in enumerate(places)
        for i in range(num_dst)
        for j in range(num_src)
        if holds(j, i, block)
    ]
    return sorted_graph(edges, sum(sources), sum(targets))


@pytest.fixture
def memory(monkeypatch):
    """A memory of its own, to be filled."""
    monkeypatch.setattr(topology, "_MEMORY", topology._Memory())
    return topology._MEMORY


# Which edges ------------------------------------------------------------------------------------


@SMALL
@given(LENGTHS)
def test_complete_and_causal_are_what_they_say(lengths):
    complete, causal = topology.complete(lengths), topology.causal(lengths)
    assert_same(complete, by_definition(lambda j, i, block: True, lengths))
    assert_same(causal, by_definition(lambda j, i, block: j <= i, lengths))
    assert complete.blocks == Blocks(tuple(lengths), tuple(lengths))
    assert causal.blocks == Blocks(tuple(lengths), tuple(lengths), causal=True)


@SMALL
@given(LENGTHS, st.integers(0, 7))
def test_window_is_what_it_says(lengths, width):
    both = topology.window(lengths, width)
    back = topology.window(lengths, width, causal=True)
    assert_same(both, by_definition(lambda j, i, block: abs(i - j) <= width, lengths))
    assert_same(back, by_definition(lambda j, i, block: i - width <= j <= i, lengths))
    assert both.is_symmetric
    assert both.blocks is back.blocks is None


@SMALL
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=4))
def test_bipartite_is_what_it_says(sizes):
    sources, targets = ([pair[side] for pair in sizes] for side in (0, 1))
    graph = topology.bipartite(sources, targets)
    assert_same(graph, by_definition(lambda j, i, block: True, sources, targets))
    assert graph.blocks == Blocks(tuple(sources), tuple(targets))


@SMALL
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=3), st.integers(0, 3))
def test_grid_is_what_it_says(sizes, radius):
    heights, widths = ([pair[side] for pair in sizes] for side in (0, 1))

    def near(j, i, image):
        rows, columns = (divmod(pixel, widths[image]) for pixel in (j, i))
        return all(abs(a - b) <= radius for a, b in zip(rows, columns, strict=True))

    pixels = [height * width for height, width in sizes]
    graph, again = topology.grid(heights, widths, radius), by_definition(near, pixels)
    for name in ("rowptr", "col", "perm", "edge_index"):
        ours, theirs = getattr(graph, name), getattr(again, name)
        assert ours is theirs or torch.equal(ours, theirs), name
    assert (graph.num_src, graph.num_dst) == (again.num_src, again.num_dst)
    assert graph.is_symmetric
    assert topology.grid(heights, widths) is topology.complete(pixels)


def test_hierarchy_leads_from_words_to_sentences_to_documents():
    words, sentences = topology.hierarchy([3, 0, 2, 4], [1, 3])
    assert_same(words, by_definition(lambda j, i, block: True, [3, 0, 2, 4], [1] * 4))
    assert_same(sentences, by_definition(lambda j, i, block: True, [1, 3], [1, 1]))
    assert topology.hierarchy() == ()
    assert topology.hierarchy([])[0].num_edges == 0


def test_one_number_is_one_block_and_stands_for_every_block_of_the_other_side():
    assert topology.complete(3) is topology.complete([3]) is topology.complete(torch.tensor(3))
    assert topology.causal(torch.tensor([2, 3])) is topology.causal((2, 3))
    assert topology.window(np.array([2, 3]), np.int64(1)) is topology.window([2, 3], 1)
    assert topology.bipartite([3, 1], 2) is topology.bipartite([3, 1], [2, 2])
    assert topology.bipartite(3, [1, 0]) is topology.bipartite([3, 3], [1, 0])
    assert topology.bipartite([], 2).num_dst == topology.bipartite(2, []).num_src == 0
    assert topology.grid(2, [3, 4], 1) is topology.grid([2, 2], [3, 4], 1)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: topology.complete([2, -1]), "lengths has -1; expected a whole number of 0 or"),
        (lambda: topology.causal(2.0), "lengths has 2.0; expected a whole number"),
        (lambda: topology.causal(torch.tensor([1.5])), "lengths has 1.5; expected a whole"),
        (lambda: topology.causal(torch.tensor([[1]])), r"lengths has \[1\]; expected a whole"),
        (lambda: topology.complete([True]), "lengths has True; expected a whole number"),
        (lambda: topology.complete(None), "lengths has None; expected a whole number"),
        (lambda: topology.window(3, -1), "width has -1; expected a whole number"),
        (lambda: topology.grid(3, 3, -1), "radius has -1; expected a whole number"),
        (lambda: topology.grid(3, "3"), "width has '3'; expected a whole number"),
        (lambda: topology.bipartite(2, [-3]), "num_dst has -3; expected a whole number"),
        (
            lambda: topology.bipartite([1, 2], [1, 2, 3]),
            "there are 2 lengths for one side and 3 for the other; expected as many, or one",
        ),
        (
            lambda: topology.hierarchy([2, 3], [1, 2]),
            r"lengths\[1\] sum to 3; expected 2, the wholes that lengths\[0\] makes",
        ),
        (lambda: topology.hierarchy([1], ["a"]), r"lengths\[1\] has 'a'; expected a whole"),
    ],
)
def test_what_are_no_counts_is_refused_in_words(call, sentence):
    with pytest.raises(InputError, match=sentence):
        call()


# Remembered, cheap ------------------------------------------------------------------------------


def test_what_is_asked_again_is_the_same_object_and_costs_nothing(memory):
    first = topology.window([4, 5], 2)
    assert topology.window([4, 5], 2) is first
    assert topology.window([4, 5], 2, causal=True) is not first
    assert topology.window([4, 5], 2, device="cpu") is first
    assert topology.complete([4, 5]) is not topology.causal([4, 5])
    assert len(memory.graphs) == 4


def test_memory_is_bounded_by_edges_and_by_graphs(memory, monkeypatch):
    monkeypatch.setattr(topology, "REMEMBERED", 20_000)
    # 2 * 4 + 16 + 1,024 each: nineteen graphs.
    graphs = [topology.complete([4, *[0] * k]) for k in range(30)]
    assert len(memory.graphs) == 19
    assert topology.complete([4, *[0] * 29]) is graphs[29]
    assert topology.complete([4]) is not graphs[0]
    # What was asked for last stays, whatever its size; all others go.
    large = topology.complete(200)
    assert list(memory.graphs.values()) == [large]
    assert memory.size == 200 * 200 + 400 + topology.EACH
    assert topology.complete(200) is large
    _ = topology.complete(1)
    assert len(memory.graphs) == 1


def test_what_was_used_last_is_kept_longest(memory, monkeypatch):
    monkeypatch.setattr(topology, "REMEMBERED", 3 * topology.EACH)
    first, second = topology.complete(1), topology.complete(2)
    assert topology.complete(1) is first
    _ = topology.complete(3)
    assert topology.complete(1) is first
    assert topology.complete(2) is not second


def test_threads_may_ask_at_once(memory, monkeypatch):
    monkeypatch.setattr(topology, "REMEMBERED", 3 * topology.EACH)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as threads:
            asked = [1 + k % 5 for k in range(2000)]
            sizes = [graph.num_edges for graph in threads.map(topology.complete, asked)]
    finally:
        sys.setswitchinterval(interval)
    assert sizes == [count * count for count in asked]
    assert memory.size == sum(topology._size(graph) for graph in memory.graphs.values())


@pytest.mark.usefixtures("memory")
def test_device_is_where_the_graph_is():
    here = topology.bipartite([2, 3], 1)
    there = topology.bipartite([2, 3], 1, device="meta")
    assert (here.device.type, there.device.type) == ("cpu", "meta")
    assert topology.bipartite([2, 3], 1, device=torch.device("meta")) is there
    assert there.by_target.col.device.type == "meta"
    assert topology.grid(3, 4, 1, device="meta").col.device.type == "meta"
    assert topology.hierarchy([2], [1], device="meta")[1].device.type == "meta"


@pytest.mark.usefixtures("memory")
def test_a_graph_made_in_inference_mode_serves_training():
    with torch.inference_mode():
        graphs = [topology.window([3, 4], 1), topology.complete([3, 4]), topology.grid(7, 1, 1)]
    for graph in graphs:
        for backend in ("auto", *FAST, *(["dense"] if graph is graphs[1] else [])):
            x = torch.randn(7, 2, 3, requires_grad=True)
            dot_attention(graph, x, x, x, backend=backend).sum().backward()
            assert x.grad.isfinite().all()


class Sorts(TorchDispatchMode):
    """Counts the sorts of whatever runs under it."""

    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.name().removeprefix("aten::").partition(".")[0]
        self.count += name in ("sort", "argsort", "topk", "_unique2")
        return function(*args, **(kwargs or {}))


@pytest.mark.usefixtures("memory")
@pytest.mark.parametrize(
    "make",
    [
        lambda: topology.complete([700, 0, 720]),
        lambda: topology.causal(1500),
        lambda: topology.window([8000, 1, 9000], 40),
        lambda: topology.bipartite([1000, 1000], 600),
        lambda: topology.grid(200, 220, 2),
    ],
    ids=["complete", "causal", "window", "bipartite", "grid"],
)
def test_a_million_edges_are_built_without_a_sort(make):
    with Sorts() as sorts:
        graph = make()
        _ = graph.by_target, graph.edge_index, graph.in_degree
        if isinstance(graph, IntervalGraph):
            _ = graph.by_source, graph.transposed, graph.transpose, graph.is_symmetric
    assert graph.num_edges > 1_000_000
    assert sorts.count == 0
    with Sorts() as sorts:
        _ = Graph.from_edge_index(graph.edge_index.flip(1))
    assert sorts.count == 1


# Attention on them ------------------------------------------------------------------------------

UNEQUAL = [5, 1, 0, 7, 5]
# By name: the graph, and of a block the pairs (target, source) that torch's mask leaves.
TOPOLOGIES = {
    "complete": (lambda: topology.complete(UNEQUAL), lambda t, s: torch.ones(t, s)),
    "causal": (lambda: topology.causal(UNEQUAL), lambda t, s: torch.ones(t, s).tril()),
    "bipartite": (
        lambda: topology.bipartite([3, 0, 7, 3], [2, 4, 1, 2]),
        lambda t, s: torch.ones(t, s),
    ),
    "window": (lambda: topology.window(UNEQUAL, 2), lambda t, s: torch.ones(t, s).tril(2).triu(-2)),
    "window_causal": (
        lambda: topology.window(UNEQUAL, 2, causal=True),
        lambda t, s: torch.ones(t, s).tril().triu(-2),
    ),
    "grid": (lambda: topology.grid([4, 1], [3, 5], 1), lambda t, s: near(t, s)),
}
BLOCKS = {
    "bipartite": ([3, 0, 7, 3], [2, 4, 1, 2]),
    "grid": ([12, 5], [12, 5]),
}
BACKENDS = ("auto", "reference", *FAST, "dense")


def near(targets, sources):
    width = {12: 3, 5: 5}[targets]
    mask = torch.zeros(targets, sources)
    for i, j in product(range(targets), range(sources)):
        rows, columns = abs(i // width - j // width), abs(i % width - j % width)
        mask[i, j] = rows <= 1 and columns <= 1
    return mask


def by_torch(name, query, key, value, **options):
    """Each block by itself through torch's attention; zeros where there is no source."""
    sources, targets = BLOCKS.get(name, (UNEQUAL, UNEQUAL))
    blocks = zip(query.split(targets), key.split(sources), value.split(sources), strict=True)
    outs = []
    for q, k, v in blocks:
        if len(k) == 0:
            outs.append(q.new_zeros(len(q), *v.shape[1:]))
            continue
        if name in ("complete", "causal", "bipartite"):
            how = {"is_causal": name == "causal"}
        else:
            how = {"attn_mask": TOPOLOGIES[name][1](len(q), len(k)).bool()}
        given = (x.transpose(0, 1).unsqueeze(0) for x in (q, k, v))
        out = F.scaled_dot_product_attention(*given, **how, **options)
        outs.append(out[0].transpose(0, 1))
    return torch.cat(outs)


def drawn(graph, heads, channels, dtype, value_channels=None):
    sizes = (graph.num_dst, graph.num_src, graph.num_src)
    last = (channels, channels, value_channels or channels)
    return [
        torch.randn(n, heads, c, dtype=dtype, requires_grad=True)
        for n, c in zip(sizes, last, strict=True)
    ]


def assert_same_results(ours, theirs, leaves):
    torch.testing.assert_close(ours, theirs)
    upstream = torch.randn_like(theirs)
    ours, theirs = (torch.autograd.grad(out, leaves, upstream) for out in (ours, theirs))
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", TOPOLOGIES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_dot_attention_is_torchs_forward_and_gradients(backend, name, dtype):
    if backend == "dense" and name == "grid":
        pytest.skip("torch's dense kernel is for consecutive sources")
    graph = TOPOLOGIES[name][0]()
    for heads, channels, value_channels in ((1, 1, 1), (3, 7, 7), (2, 8, 5)):
        given = drawn(graph, heads, channels, dtype, value_channels)
        ours = dot_attention(graph, *given, backend=backend)
        assert_same_results(ours, by_torch(name, *given), given)
        ours = dot_attention(graph, *given, scale=0.3, backend=backend)
        assert_same_results(ours, by_torch(name, *given, scale=0.3), given)


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_attend_is_torchs_attention_of_what_it_is_given(name):
    graph = TOPOLOGIES[name][0]()
    given = drawn(graph, 2, 3, torch.float64)
    assert_same_results(Attend(3, heads=2)(*given, graph), by_torch(name, *given), given)
    batch = [torch.stack([x, 2 * x]) for x in given]
    out = Attend(3, heads=2)(*batch, graph)
    for one, *those in zip(out, *batch, strict=True):
        torch.testing.assert_close(one, by_torch(name, *those))


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_attention_conv_is_torchs_attention_of_its_projections(name):
    graph = TOPOLOGIES[name][0]()
    conv = AttentionConv((4, 3), 5, heads=2, score="scaled_dot", bias=False).double()
    x = (torch.randn(graph.num_src, 4).double(), torch.randn(graph.num_dst, 3).double())
    key = conv.lin_key(x[0]).unflatten(1, (2, 5))
    value = key if conv.lin_value is None else conv.lin_value(x[0]).unflatten(1, (2, 5))
    query = conv.lin_query(x[1]).unflatten(1, (2, 5))
    expected = by_torch(name, query, key, value).flatten(1)
    assert_same_results(conv(x, graph), expected, list(conv.parameters()))


@pytest.mark.parametrize("name", ["complete", "causal", "window", "bipartite"])
def test_weights_of_the_edges_in_the_callers_order(name):
    graph = TOPOLOGIES[name][0]()
    given = drawn(graph, 2, 3, torch.float64)
    out, weights = dot_attention(graph, *given, return_weights=True)
    plain = Graph.from_edge_index(graph.edge_index, (graph.num_src, graph.num_dst))
    expected = dot_attention(plain, *given, return_weights=True, backend="reference")
    torch.testing.assert_close((out, weights), expected)


@pytest.mark.usefixtures("memory")
def test_windows_wider_than_every_sentence_are_one_graph():
    for causal in (False, True):
        graph = topology.window([5, 3], 5, causal=causal)
        assert topology.window([5, 3], 2**63 - 1, causal=causal) is graph
        narrower = topology.window([5, 3], 4, causal=causal)
        assert torch.equal(narrower.edge_index, graph.edge_index)
    grid = topology.grid([2, 4], 3, 4)
    assert topology.grid([2, 4], 3, 2**63 - 1) is grid
    assert grid.num_edges == 6**2 + 12**2


def results(run, network, graph):
    """The output and every gradient."""
    network.zero_grad()
    x = torch.linspace(-1, 1, 6 * graph.num_src).view(-1, 6).requires_grad_()
    out = run(x, graph)
    out.square().sum().backward()
    return out, x.grad, [parameter.grad for parameter in network.parameters()]


@pytest.mark.usefixtures("memory")
def test_a_network_that_is_passed_its_graph_compiles_in_one_piece():
    network = AttentionConv(6, 8, heads=2, score="scaled_dot")
    counter = CompileCounterWithBackend("aot_eager")
    run = torch.compile(network, fullgraph=True, dynamic=True, backend=counter)
    counts = []
    for make in (
        lambda: topology.window([5, 3, 7], 2),
        lambda: topology.window([4, 9], 3, causal=True),
        lambda: topology.causal(70),
        lambda: topology.causal(80),
    ):
        # Compiled first: the graph's arrays are worked out in there.
        compiled = results(run, network, make())
        topology._MEMORY.graphs.clear()
        torch.testing.assert_close(compiled, results(network, network, make()))
        counts.append(counter.frame_count)
    # Once for the edges, once for torch's dense kernel; other sizes are no reason to compile anew.
    assert counts[0] == counts[1] < counts[2] == counts[3]


@pytest.mark.usefixtures("memory")
def test_a_compiled_network_may_ask_for_its_graph():
    conv = AttentionConv(6, 8, heads=2, score="scaled_dot")

    def network(x, lengths):
        return conv(x, topology.complete(lengths))

    run = torch.compile(network, backend="aot_eager")
    for lengths in ((5, 7), (6, 6), (5, 7)):
        x = torch.randn(12, 6)
        out = run(x, lengths)
        topology._MEMORY.graphs.clear()
        torch.testing.assert_close(out, network(x, lengths))
