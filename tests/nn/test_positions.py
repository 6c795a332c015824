"""Position encodings against their definitions, on graphs small enough to know the answer."""

import math

import pytest
import torch
from torch_geometric.data import Data
from torch_geometric.transforms import AddLaplacianEigenvectorPE, AddRandomWalkPE
from torch_geometric.utils import to_undirected

from gat.errors import ArgumentTypeError, IndexRangeError, InputError
from gat.graph import Graph
from gat.nn.positions import (
    flip_signs,
    laplacian_encoding,
    random_walk_encoding,
    sinusoidal_encoding,
)
from tests.device import generator
from tests.graphs import GRAPHS, SQUARE


def path(nodes):
    ahead = torch.stack([torch.arange(nodes - 1), torch.arange(1, nodes)])
    return torch.cat([ahead, ahead.flip(0)], dim=1)


def cycle(nodes):
    ahead = torch.stack([torch.arange(nodes), (torch.arange(nodes) + 1) % nodes])
    return torch.cat([ahead, ahead.flip(0)], dim=1)


def laplacian(edge_index, nodes):
    adjacency = torch.zeros(nodes, nodes, dtype=torch.float64)
    adjacency[edge_index[0], edge_index[1]] = 1
    adjacency = torch.maximum(adjacency, adjacency.t()).fill_diagonal_(0)
    scale = adjacency.sum(1).clamp(min=1).rsqrt()
    return torch.eye(nodes, dtype=torch.float64) - scale[:, None] * adjacency * scale


# Sines


@pytest.mark.parametrize("channels", [1, 2, 5, 8])
def test_sines_by_the_papers_formula(channels):
    positions = torch.tensor([0.0, 1.0, -2.5, 1e5], dtype=torch.float64)
    encoding = sinusoidal_encoding(positions, channels)
    for p, row in zip(positions.tolist(), encoding.tolist(), strict=True):
        for channel, value in enumerate(row):
            angle = p / 10000 ** ((channel - channel % 2) / channels)
            wave = math.cos(angle) if channel % 2 else math.sin(angle)
            assert value == pytest.approx(wave, abs=1e-9)


def test_sines_of_integers_are_of_torchs_default_dtype():
    whole = sinusoidal_encoding(torch.tensor([0, 7, 100_000]), 6)
    assert whole.dtype is torch.float32
    exact = sinusoidal_encoding(torch.tensor([0, 7, 100_000], dtype=torch.float64), 6)
    torch.testing.assert_close(whole.double(), exact, rtol=0, atol=1e-7)
    assert sinusoidal_encoding(torch.zeros(3, dtype=torch.bfloat16), 4).dtype is torch.bfloat16
    assert sinusoidal_encoding(torch.zeros(0), 4).shape == (0, 4)


def test_sines_are_differentiable_and_their_distances_shift_invariant():
    positions = torch.randn(5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda p: sinusoidal_encoding(p, 7), positions)
    with torch.no_grad():
        near, far = sinusoidal_encoding(positions, 8), sinusoidal_encoding(positions + 50, 8)
    torch.testing.assert_close(near @ near.t(), far @ far.t())


# Eigenvectors


def test_the_eigenvectors_of_a_path_are_cosines():
    nodes = 6
    encoding = laplacian_encoding(path(nodes), nodes, 5).double()
    # Of the normalised Laplacian: sqrt(degree) cos(pi k i / (N - 1)), eigenvalue 1 - cos.
    degree = torch.tensor([1, 2, 2, 2, 2, 1.0]).double()
    for k in range(1, 6):
        wave = degree.sqrt() * torch.cos(math.pi * k * torch.arange(nodes).double() / 5)
        wave = wave / wave.norm()
        assert float((encoding[:, k - 1] @ wave).abs()) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("name", [name for name in SQUARE if GRAPHS[name][1] > 1])
def test_eigenvectors_of_any_graph(name):
    edge_index, nodes, _ = GRAPHS[name]
    k = min(4, nodes - 1)
    torch.set_default_dtype(torch.float64)
    try:
        encoding = laplacian_encoding(edge_index, nodes, k)
    finally:
        torch.set_default_dtype(torch.float32)
    assert encoding.dtype is torch.float64
    matrix = laplacian(edge_index, nodes)
    # PyG gives a node without edges the diagonal 1, and so the eigenvalue 1.
    values = torch.linalg.eigvalsh(matrix)[1 : k + 1]
    torch.testing.assert_close(matrix @ encoding, encoding * values, rtol=0, atol=1e-9)
    torch.testing.assert_close(encoding.t() @ encoding, torch.eye(k, dtype=torch.float64))


@pytest.mark.parametrize("nodes", [12, 150], ids=["dense", "sparse"])
def test_eigenvectors_are_pygs_with_fixed_signs_and_draw_nothing(nodes):
    draw = generator(0)
    edge_index = to_undirected(torch.randint(nodes, (2, 4 * nodes), generator=draw))
    before = torch.get_rng_state()
    encoding = laplacian_encoding(edge_index, nodes, 3)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(encoding, laplacian_encoding(edge_index, nodes, 3))
    largest = encoding.gather(0, encoding.abs().argmax(0, keepdim=True))
    assert (largest > 0).all()
    loopless = edge_index[:, edge_index[0] != edge_index[1]]
    transform = AddLaplacianEigenvectorPE(3, "pe", is_undirected=True)
    theirs = transform(Data(edge_index=loopless, num_nodes=nodes)).pe
    torch.testing.assert_close(encoding.abs(), theirs.abs().float(), rtol=1e-3, atol=1e-4)


def test_all_eigenvectors_of_a_graph_for_which_some_are_searched():
    encoding = laplacian_encoding(cycle(101), 101, 100)
    torch.testing.assert_close(encoding.t() @ encoding, torch.eye(100), rtol=0, atol=1e-5)


def test_direction_duplicates_and_loops_do_not_matter():
    edge_index = path(7)
    messy = torch.cat([edge_index[:, :6], edge_index[:, :3], torch.tensor([[2], [2]])], dim=1)
    expected = laplacian_encoding(edge_index, 7, 3)
    torch.testing.assert_close(laplacian_encoding(messy, 7, 3), expected)
    torch.testing.assert_close(
        laplacian_encoding(Graph.from_edge_index(messy, 7), None, 3), expected
    )


def test_signs_are_flipped_by_column_in_training_only():
    encoding = laplacian_encoding(path(9), 9, 8)
    torch.manual_seed(0)
    seen = {tuple((flip_signs(encoding) / encoding)[0].round().tolist()) for _ in range(20)}
    assert len(seen) > 10
    assert all(set(signs) <= {-1.0, 1.0} for signs in seen)
    assert flip_signs(encoding, training=False) is encoding
    torch.testing.assert_close(flip_signs(encoding).abs(), encoding.abs())


# Random walks


def test_walks_on_a_cycle_return_by_binomials():
    encoding = random_walk_encoding(cycle(9), 9, 8)
    # Shorter than the way around: as often left as right.
    expected = [0 if k % 2 else math.comb(k, k // 2) / 2**k for k in range(1, 9)]
    torch.testing.assert_close(encoding, torch.tensor(expected).expand(9, 8))


@pytest.mark.parametrize("name", SQUARE)
def test_walks_are_diagonals_of_powers(name):
    edge_index, nodes, _ = GRAPHS[name]
    adjacency = torch.zeros(nodes, nodes)
    adjacency[edge_index[0], edge_index[1]] = 1
    step = adjacency / adjacency.sum(1, keepdim=True).clamp(min=1)
    powers = [torch.linalg.matrix_power(step, k).diagonal() for k in range(1, 5)]
    expected = torch.stack(powers, dim=1)
    torch.testing.assert_close(random_walk_encoding(edge_index, nodes, 4), expected)
    graph = Graph.from_edge_index(edge_index, nodes)
    torch.testing.assert_close(random_walk_encoding(graph, None, 4), expected)


def test_walks_on_a_large_graph_are_pygs():
    nodes = 2100
    edge_index = cycle(nodes)
    encoding = random_walk_encoding(edge_index, nodes, 3)
    theirs = AddRandomWalkPE(3, "pe")(Data(edge_index=edge_index, num_nodes=nodes)).pe
    torch.testing.assert_close(encoding, theirs)
    assert encoding[0].tolist() == [0, 0.5, 0]


def test_wrong_arguments_are_refused_in_words():
    with pytest.raises(InputError, match=r"k is 4, but a graph of 4 nodes has 3 eigenvectors"):
        laplacian_encoding(path(4), 4, 4)
    with pytest.raises(InputError, match=r"k is 0; expected a whole number of 1 or more"):
        laplacian_encoding(path(4), 4, 0)
    with pytest.raises(InputError, match=r"walk_length is 1\.5"):
        random_walk_encoding(path(4), 4, 1.5)
    with pytest.raises(IndexRangeError, match="names source node 3"):
        laplacian_encoding(path(4), 3, 1)
    bipartite = Graph.from_edge_index(torch.tensor([[0], [0]]), (2, 3))
    with pytest.raises(InputError, match="2 source and 3 target nodes"):
        random_walk_encoding(bipartite, None, 2)
    with pytest.raises(InputError, match=r"num_nodes is 5; expected one set"):
        laplacian_encoding(Graph.from_edge_index(path(4), 4), 5, 2)
    with pytest.raises(InputError, match=r"positions has shape \[2, 3\]"):
        sinusoidal_encoding(torch.zeros(2, 3), 4)
    with pytest.raises(ArgumentTypeError, match=r"positions has dtype torch\.bool"):
        sinusoidal_encoding(torch.ones(3, dtype=torch.bool), 4)
    with pytest.raises(InputError, match="channels is 0"):
        sinusoidal_encoding(torch.ones(3), 0)
