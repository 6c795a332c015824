"""Position encodings: where a node stands, as features to put beside its own.

By an order of the nodes (`sinusoidal_encoding`), by the graph's eigenvectors
(`laplacian_encoding`), by the walks that return to a node (`random_walk_encoding`); the latter two
by PyTorch Geometric's transforms, once per graph rather than once per step.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.transforms import AddLaplacianEigenvectorPE, AddRandomWalkPE
from torch_geometric.utils import coalesce, remove_self_loops, to_undirected

from gat.errors import ArgumentTypeError, InputError
from gat.graph import Graph, read_edges

__all__ = ["flip_signs", "laplacian_encoding", "random_walk_encoding", "sinusoidal_encoding"]


def sinusoidal_encoding(positions: Tensor, channels: int, *, base: float = 10000.0) -> Tensor:
    """Sines and cosines of each position, side by side: [N, channels]
    (Vaswani et al. 2017, "Attention Is All You Need", section 3.5).

    Channel 2k is sin(p / base^(2k / channels)) and 2k + 1 its cosine; of an odd number of channels
    the last is a sine. positions [N]: any real numbers, also negative or between whole ones. The
    result has their dtype, for integers torch's default. Differentiable in the positions.
    """
    _at_least(1, "channels", channels)
    if positions.dim() != 1:
        raise InputError(f"positions has shape {list(positions.shape)}; expected [N]")
    if positions.dtype is torch.bool or positions.is_complex():
        raise ArgumentTypeError(f"positions has dtype {positions.dtype}; expected real numbers")
    pairs = torch.arange(0, channels, 2, dtype=torch.float64, device=positions.device)
    # In float64: in float32 the sine of position 100000 is right to two digits.
    angles = positions.double().unsqueeze(1) * base ** (-pairs / channels)
    waves = torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)[:, :channels]
    return waves.to(positions.dtype if positions.is_floating_point() else _default())


def laplacian_encoding(edges: Any, num_nodes: int | None, k: int) -> Tensor:
    """The k eigenvectors of the graph's Laplacian after the first, as columns: [N, k]
    (Dwivedi & Bresson 2021, "A Generalization of Transformer Networks to Graphs", eq. 1).

    Those of I - D^-1/2 A D^-1/2 with the smallest eigenvalues, in rising order and of length 1.
    Each edge counts in both directions and once; self-loops do not count. edges: a `gat.Graph` or
    what `gat.graph.read_edges` takes; num_nodes may be None if they tell. On the edges' device, in
    torch's default dtype.

    An eigenvector's sign is arbitrary: here its largest entry is positive, the first of several.
    For training the paper flips signs at random: `flip_signs`, at each step. Eigenvectors of one
    eigenvalue, as symmetric or disconnected graphs have, are arbitrary beyond that.

    Raises InputError for k of ``num_nodes`` or more: there are num_nodes - 1 such vectors.
    """
    edge_index, num_nodes = _square(edges, num_nodes)
    _at_least(1, "k", k)
    if k >= num_nodes:
        raise InputError(
            f"k is {k}, but a graph of {num_nodes} nodes has {max(num_nodes - 1, 0)} eigenvectors "
            f"after the first; ask for fewer and fill up with zeros"
        )
    edge_index = to_undirected(remove_self_loops(edge_index)[0].cpu(), num_nodes=num_nodes)
    weight = torch.ones(edge_index.size(1), dtype=torch.float64)
    data = Data(edge_index=edge_index, edge_weight=weight, num_nodes=num_nodes)
    vectors = _eigenvectors(data, k)
    return _fix_signs(vectors).to(_device(edges), _default())


def flip_signs(encoding: Tensor, training: bool = True) -> Tensor:
    """``encoding`` [N, k] with the sign of each column drawn anew; as it is outside ``training``.

    So a network does not come to rely on signs that mean nothing (Dwivedi & Bresson 2021,
    section 2.2).
    """
    if not training:
        return encoding
    heads = torch.randint(2, (encoding.size(-1),), device=encoding.device)
    return encoding * (2 * heads - 1).to(encoding.dtype)


def random_walk_encoding(edges: Any, num_nodes: int | None, walk_length: int) -> Tensor:
    """How likely a random walk is back at its node after 1, 2, ... steps: [N, walk_length]
    (Dwivedi et al. 2022, "Graph Neural Networks with Learnable Structural and Positional
    Representations", RWPE).

    The diagonals of the powers of D^-1 A. Walks follow the edges' direction; parallel edges count
    once; a walk that has nowhere to go ends. edges, num_nodes, device and dtype as in
    `laplacian_encoding`.
    """
    edge_index, num_nodes = _square(edges, num_nodes)
    _at_least(1, "walk_length", walk_length)
    if num_nodes == 0:
        return torch.zeros(0, walk_length, device=edge_index.device)
    data = Data(edge_index=coalesce(edge_index, num_nodes=num_nodes), num_nodes=num_nodes)
    transform = AddRandomWalkPE(walk_length, attr_name="encoding")
    return transform(data).encoding.to(_default())


def _at_least(least: int, name: str, value: int) -> None:
    if not isinstance(value, int) or value < least:
        raise InputError(f"{name} is {value!r}; expected a whole number of {least} or more")


def _default() -> torch.dtype:
    return torch.get_default_dtype()


def _square(edges: Any, num_nodes: int | None) -> tuple[Tensor, int]:
    """An edge_index [2, E] and the number of nodes."""
    if isinstance(edges, Graph):
        edge_index, sizes = edges.edge_index, (edges.num_src, edges.num_dst)
    else:
        read = read_edges(edges, num_nodes)
        edge_index, sizes = torch.stack([read.source, read.target]), (read.num_src, read.num_dst)
    if sizes[0] != sizes[1] or num_nodes not in (None, sizes[0]):
        raise InputError(
            f"the graph has {sizes[0]} source and {sizes[1]} target nodes, and num_nodes is "
            f"{num_nodes}; expected one set of nodes"
        )
    return edge_index, sizes[0]


def _device(edges: Any) -> torch.device:
    return edges.device if isinstance(edges, Graph | Tensor) else torch.device("cpu")


def _eigenvectors(data: Data, k: int) -> Tensor:
    """The eigenvectors 1 .. k in float64, with arbitrary signs."""
    # The search for some of many starts from a fixed vector, for the same result each time.
    start = np.random.default_rng(0).uniform(-1, 1, data.num_nodes)
    sparse = data.num_nodes >= AddLaplacianEigenvectorPE.SPARSE_THRESHOLD
    transform = AddLaplacianEigenvectorPE(
        k, attr_name="encoding", is_undirected=True, **({"v0": start} if sparse else {})
    )
    if k + 1 == data.num_nodes:
        # All of them, which only the dense search can find.
        transform.SPARSE_THRESHOLD = data.num_nodes + 1
    with torch.random.fork_rng([]):  # the transform flips signs at random
        return torch.as_tensor(transform(data).encoding)


def _fix_signs(vectors: Tensor) -> Tensor:
    """Each column with its largest entry positive; the first of those equal but for rounding."""
    size = vectors.abs()
    first = (size >= size.amax(0) * (1 - 1e-6)).int().argmax(0)
    sign = vectors.gather(0, first.unsqueeze(0)).sign()
    return vectors * sign
