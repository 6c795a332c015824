"""What one node looks at: its neighbourhood, edges by weight, nodes by class, head by head."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from gat.errors import InputError
from gat.inspection.measures.classes import Labels, labels_of
from gat.inspection.pictures.palette import Classes, shortened
from gat.inspection.pictures.placing import Hood, gather, place
from gat.inspection.pictures.sketch import Panel, Sketch, outward
from gat.inspection.pictures.style import drawn, finish, grid
from gat.inspection.record import Attention, AttentionRecord, in_order
from gat.inspection.words import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_neighbourhood"]

# Heads drawn beside their mean unless the caller names some.
HEADS = 5
# More nodes than this have no room for their names.
NAMED = 32
# Letters per inch of a panel.
NAME_LENGTH = 2.6


@drawn
def draw_neighbourhood(
    attention: Attention | Sequence[AttentionRecord] | AttentionRecord,
    node: int,
    y: Labels | None = None,
    class_names: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
    hops: int = 1,
    heads: Sequence[int] | None = None,
    max_nodes: int = 60,
) -> "Figure":
    """Node ``node`` in the middle, around it the nodes within ``hops`` whose messages reach it.

    Lines are as wide and dark as the weight of the edge, on one scale in all panels; a ring around
    a node is its weight on itself. Panels: the mean of all heads and the first five, or ``heads``,
    by their numbers in the layer; an empty list leaves the mean alone. Of more than ``max_nodes``
    nodes the most attended are drawn, and the caption tells how many are missing.

    attention: one record; of several layers the last is drawn.
    y: classes of the nodes, integers [N], negative where unknown; of a bipartite graph a pair, of
    sources and of targets; or by node type. names: of the source nodes, [num_src], else their
    numbers are shown.
    Raises IndexRangeError for a node or head that is not there, InputError for more hops than a
    bipartite graph has, for labels that do not fit and for a node that a partial record has not
    seen.
    """
    record = in_order(attention)[-1]
    hood = gather(record, node, hops, max_nodes)
    if names is not None and len(names) != record.num_src:
        raise InputError(f"names has {len(names)}; expected one for each of {record.num_src} nodes")
    classes = Classes(_classes(record, hood, y), class_names, len(hood.nodes))
    panels = _panels(record, hood, heads)
    widest = max((float(panel.all.max()) for panel in panels if panel.all.size), default=0.0)
    side = {1: 5.5, 2: 4.2}.get(len(panels), 3.4)
    figure, axes = grid(len(panels), side, side + 0.3, columns=2 if len(panels) == 4 else 3)
    spots = place(hood)
    sketch = Sketch(hood, spots, classes, _labels(hood, names, side), widest or 1.0, side)
    for panel, ax in zip(panels, axes, strict=True):
        sketch.draw(ax, panel)
    called = str(node) if names is None or not record.same_nodes else f"{node} ({names[node]})"
    title = f"What node {shortened(called, 60)} looks at in {record.name}"
    caption = " ".join(_caption(record, hood, hops, panels, bool(sketch.labels)))
    return finish(figure, title, caption, sketch.handles())


def _classes(record: AttentionRecord, hood: Hood, y: Labels | None) -> Tensor | None:
    """The classes of the drawn nodes, int64 [n]."""
    labels = None if y is None else labels_of(record, y)
    if labels is None:
        return None
    sources, targets = (part.cpu() for part in labels)
    return torch.cat([targets[hood.nodes[:1]], sources[hood.nodes[1:]]])


def _panels(record: AttentionRecord, hood: Hood, heads: Sequence[int] | None) -> list[Panel]:
    parts = []
    if record.num_heads > 1 and not heads:
        parts.append((f"mean of {record.num_heads} heads", record.mean()))
    shown = record.heads[:HEADS] if heads is None else heads
    parts += [(f"head {number}", record.head(number)) for number in shown]
    if not parts:
        parts.append((f"head {record.heads[0]}", record))
    return [Panel(title, *_weights(part, hood)) for title, part in parts]


def _weights(part: AttentionRecord, hood: Hood) -> tuple[np.ndarray, np.ndarray]:
    edges = part.weights[torch.from_numpy(hood.rows).to(part.weights.device), 0]
    own = np.full(len(hood.nodes), np.nan)
    known = hood.nodes[hood.loops]
    own[hood.loops] = part.to_self[known, 0].detach().double().cpu().numpy()
    return edges.detach().double().cpu().numpy(), own


def _labels(hood: Hood, names: Sequence[str] | None, side: float) -> list[str]:
    """A name for each node but the first, or none where there is no room for so many."""
    if len(hood.nodes) > NAMED:
        return []
    return [
        shortened(node if names is None else names[node], int(NAME_LENGTH * side))
        for node in hood.nodes[1:]
    ]


def _caption(
    record: AttentionRecord, hood: Hood, hops: int, panels: list[Panel], named: bool
) -> Iterator[str]:
    """The caption, sentence by sentence."""
    node, others = int(hood.nodes[0]), len(hood.nodes) - 1
    if others:
        within = "directly" if hops == 1 else f"within {hops} hops"
        yield (
            f"In the middle node {node}, around it {counted(others, 'node')} whose messages reach "
            f"it {within} in {record.name}, over {counted(len(hood.rows), 'edge')}."
        )
        yield from _how_to_read(hood, panels, named)
        yield f"If node {node} attended to all alike, each would get {_even(record, node):.2g}."
    else:
        yield f"Node {node} alone: no message of another node reaches it in {record.name}."
    if record.same_nodes:
        yield "A ring around a node is its weight on itself, on the same scale."
    if hood.num_left_out:
        yield (
            f"Left out: the {counted(hood.num_left_out, 'node')} it attends to least; the drawn "
            f"ones and the node itself have {_drawn_share(record, hood):.0%} of its attention."
        )
    if record.complete is not None and not bool(record.complete[node]):
        yield f"Only a sample of the edges into node {node} was recorded."
    if len(panels) == HEADS + 1 < record.num_heads + 1:
        rest = list(record.heads[HEADS:])
        yield f"{counted(len(rest), 'more head')} can be drawn by heads={rest}."


def _how_to_read(hood: Hood, panels: list[Panel], named: bool) -> Iterator[str]:
    scale = "; one scale for all panels" if len(panels) > 1 else ""
    line, gives = "a line", "the node in the middle gives the other"
    if outward(hood):
        line, gives = "an arrow", "the node it points to gives the other"
    yield f"The wider and darker {line}, the more weight {gives}{scale}."
    yield "The most attended node is at the top, the others follow clockwise."
    if any((panel.edges < 0).any() for panel in panels):
        yield "Dashed lines are negative weights."
    if not named:
        yield f"More than {NAMED} nodes: their names are left away."


def _drawn_share(record: AttentionRecord, hood: Hood) -> float:
    """The share of the centre's attention, all heads together, on the drawn nodes and itself."""
    node = int(hood.nodes[0])
    direct = torch.from_numpy(hood.rows[hood.end == 0]).to(record.weights.device)
    shown = record.weights[direct].abs().sum() + (
        record.to_self[node].abs().sum() if record.same_nodes else 0
    )
    enters = record.target == node
    whole = record.weights[enters].abs().sum() + record.loops[node].abs().sum()
    return float(shown / whole.clamp(min=torch.finfo(whole.dtype).tiny))


def _even(record: AttentionRecord, node: int) -> float:
    """The mean weight of what a node attends to, the layer's loop among it."""
    enters = (record.target == node) & ~record.left_out
    edges = int(enters.sum()) + bool(record.loops[node].any())
    return float(record.sums[node].mean()) / edges
