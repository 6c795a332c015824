"""Graphs that are not data: sentences, sentence pairs, images, documents, as edges to attend over.

Lengths are a number, or one per block: blocks of unequal length stand one after the other on the
diagonal of one graph, without padding, and nodes are numbered through; block b begins at node
sum(lengths[:b]). A batch of one length needs no blocks: features [B, N, F] on the graph of one
length are such a batch (`gat.nn.batched`), which costs fewer edges.

Graphs are remembered by what was asked for, so asking again costs nothing. All functions take
``device`` and raise InputError for lengths that are no counts.
"""

import operator
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from itertools import pairwise
from threading import RLock
from typing import Any

import torch
from torch import Tensor

from gat.errors import InputError
from gat.graph import Blocks, Graph, IntervalGraph
from gat.graph.intervals import consecutive, pointer, ranges

__all__ = ["bipartite", "causal", "complete", "grid", "hierarchy", "window"]

Lengths = int | Sequence[int] | Tensor
Device = torch.device | str | None
Counts = tuple[int, ...]

# Edges and nodes of all graphs that are remembered, and as what a graph counts besides; the one
# made last is kept whatever its size.
REMEMBERED = 1 << 22
EACH = 1 << 10


def complete(lengths: Lengths, *, device: Device = None) -> Graph:
    """Each node of a block is entered from all of its block, itself included: encoder
    self-attention (Vaswani et al. 2017, "Attention Is All You Need", section 3.2.3)."""
    counts = _counts("lengths", lengths)
    return _remembered(("complete", counts), device, lambda: _complete(counts, counts))


def bipartite(num_src: Lengths, num_dst: Lengths, *, device: Device = None) -> Graph:
    """Each of block b's num_dst[b] targets is entered from all of its num_src[b] sources: a decoder
    that looks at an encoder. A number stands for every block of the other."""
    sources, targets = _paired(_counts("num_src", num_src), _counts("num_dst", num_dst))
    key = ("bipartite", sources, targets)
    return _remembered(key, device, lambda: _complete(sources, targets))


def causal(lengths: Lengths, *, device: Device = None) -> Graph:
    """Each node is entered from those of its block up to itself: decoder self-attention (Vaswani et
    al. 2017, section 3.2.3)."""
    counts = _counts("lengths", lengths)
    return _remembered(("causal", counts), device, lambda: _causal(counts))


def window(lengths: Lengths, width: int, *, causal: bool = False, device: Device = None) -> Graph:
    """Local attention: node i is entered from those of its block with |i - j| <= ``width``, if
    ``causal`` those with i - width <= j <= i."""
    counts = _counts("lengths", lengths)
    # No further than any sentence is long: one graph for all such widths, and no overflow.
    width = min(_whole("width", width), max(counts, default=0))
    key = ("window", counts, width, causal)
    return _remembered(key, device, lambda: _window(counts, width, causal))


def grid(
    height: Lengths, width: Lengths, radius: int | None = None, *, device: Device = None
) -> Graph:
    """The pixels of images, row by row: each is entered from those at most ``radius`` rows and
    columns away, itself included; from all of its image where radius is None."""
    heights, widths = _paired(_counts("height", height), _counts("width", width))
    if radius is None:
        return complete([h * w for h, w in zip(heights, widths, strict=True)], device=device)
    reach = min(_whole("radius", radius), max((*heights, *widths), default=0))
    key = ("grid", heights, widths, reach)
    return _remembered(key, device, lambda: _grid(heights, widths, reach))


def hierarchy(*lengths: Lengths, device: Device = None) -> tuple[Graph, ...]:
    """Parts to wholes, a graph for each level: with the words of each sentence and the sentences of
    each document, the first graph leads from words to sentences, the second from sentences to
    documents (Yang et al. 2016, "Hierarchical Attention Networks for Document Classification").

    lengths: for each level how many parts each whole has, [wholes]; the wholes of a level are the
    parts of the next.
    """
    levels = [_counts(f"lengths[{level}]", each) for level, each in enumerate(lengths)]
    for level, (below, above) in enumerate(pairwise(levels)):
        if sum(above) != len(below):
            raise InputError(
                f"lengths[{level + 1}] sum to {sum(above)}; expected {len(below)}, the wholes that "
                f"lengths[{level}] makes"
            )
    return tuple(bipartite(counts, (1,) * len(counts), device=device) for counts in levels)


def _complete(sources: Counts, targets: Counts) -> Graph:
    counts, each = _sizes(sources), _sizes(targets)
    first = _starts(counts).repeat_interleave(each)
    blocks = Blocks(sources, targets)
    return IntervalGraph(first, counts.repeat_interleave(each), sum(sources), blocks)


def _causal(counts: Counts) -> Graph:
    start, _ = _bounds(counts)
    up_to = torch.arange(start.numel()) - start + 1
    return IntervalGraph(start, up_to, start.numel(), Blocks(counts, counts, causal=True))


def _window(counts: Counts, width: int, causal: bool) -> Graph:
    start, end = _bounds(counts)
    node = torch.arange(start.numel())
    first = torch.maximum(node - width, start)
    last = node + 1 if causal else torch.minimum(node + width + 1, end)
    return IntervalGraph(first, last - first, node.numel())


def _grid(heights: Counts, widths: Counts, radius: int) -> Graph:
    """Of each pixel the rows in reach, and of each of these rows the columns in reach."""
    height, width = _sizes(heights), _sizes(widths)
    image = torch.arange(height.numel()).repeat_interleave(height * width)
    start = _starts(height * width)[image]
    wide = width[image]
    pixel = torch.arange(image.numel()) - start
    top, rows = _reach(pixel // wide, height[image], radius)
    left, columns = _reach(pixel % wide, wide, radius)
    row = ranges(top, rows)
    of = torch.arange(image.numel()).repeat_interleave(rows)
    reached, rowptr = pointer(columns[of]), pointer(rows * columns)
    col = consecutive(reached, start[of] + row * wide[of] + left[of], int(rowptr[-1]))
    return Graph(rowptr, col, image.numel(), image.numel())


def _reach(at: Tensor, size: Tensor, radius: int) -> tuple[Tensor, Tensor]:
    """The first of the numbers in [0, size) at most ``radius`` from ``at``, and how many."""
    first = (at - radius).clamp(min=0)
    return first, torch.minimum(at + radius + 1, size) - first


def _bounds(counts: Counts) -> tuple[Tensor, Tensor]:
    """Where the block of each node begins and ends, int64 [N] each."""
    sizes = _sizes(counts)
    start = _starts(sizes)
    return start.repeat_interleave(sizes), (start + sizes).repeat_interleave(sizes)


def _sizes(counts: Counts) -> Tensor:
    return torch.tensor(counts, dtype=torch.int64)


def _starts(sizes: Tensor) -> Tensor:
    return sizes.cumsum(0) - sizes


def _counts(name: str, lengths: Lengths) -> Counts:
    if isinstance(lengths, Tensor):
        lengths = lengths.tolist()
    given = lengths if isinstance(lengths, Iterable) else (lengths,)
    counts = tuple(given)
    # There may be one for each node of a large graph: plain numbers are looked at all at once.
    if not counts or (set(map(type, counts)) == {int} and min(counts) >= 0):
        return counts
    return tuple(_whole(name, count) for count in counts)


def _whole(name: str, value: Any) -> int:
    """A whole number of 0 or more; numpy's count."""
    try:
        number = -1 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = -1
    if number < 0:
        raise InputError(f"{name} has {value!r}; expected a whole number of 0 or more")
    return number


def _paired(first: Counts, second: Counts) -> tuple[Counts, Counts]:
    """Both with as many blocks; one of a single block is repeated."""
    blocks = len(second) if len(first) == 1 else len(first)
    spread = [one * blocks if len(one) == 1 else one for one in (first, second)]
    if len(spread[0]) != len(spread[1]):
        raise InputError(
            f"there are {len(first)} lengths for one side and {len(second)} for the other; "
            f"expected as many, or one number"
        )
    return spread[0], spread[1]


class _Memory:
    """The graphs used last, up to `REMEMBERED`."""

    def __init__(self) -> None:
        self.graphs: OrderedDict[tuple, Graph] = OrderedDict()
        self.size = 0
        self.lock = RLock()

    def get(self, key: tuple, make: Callable[[], Graph]) -> Graph:
        # torch.compile traces from one thread, and no lock.
        with nullcontext() if torch.compiler.is_compiling() else self.lock:
            return self._get(key, make)

    def _get(self, key: tuple, make: Callable[[], Graph]) -> Graph:
        if key in self.graphs:
            self.graphs.move_to_end(key)
            return self.graphs[key]
        return self._new(key, make)

    # Numbers of edges depend on data: torch.compile would break off within.
    @torch.compiler.disable
    def _new(self, key: tuple, make: Callable[[], Graph]) -> Graph:
        # Made in inference mode, the graph could not serve a training step later.
        with torch.inference_mode(False):
            graph = self.graphs[key] = make()
        self.size += _size(graph)
        while self.size > REMEMBERED and len(self.graphs) > 1:
            self.size -= _size(self.graphs.popitem(last=False)[1])
        return graph


def _size(graph: Graph) -> int:
    return graph.num_edges + graph.num_src + graph.num_dst + EACH


_MEMORY = _Memory()


def _remembered(asked: tuple, device: Device, make: Callable[[], Graph]) -> Graph:
    place = torch.device("cpu" if device is None else device)
    return _MEMORY.get((*asked, place), lambda: make().to(place))
