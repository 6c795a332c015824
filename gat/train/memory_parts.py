"""What a training step of `gat.models.GAT` holds, part by part, in bytes.

A `Tape` follows the forward pass as autograd does: ``keep`` for what is held until the backward
pass has come back to it, ``moment`` for what is held beside that for a while, by the forward or by
the backward of the same operation. What is kept only grows on the way forward and shrinks in
reverse on the way back, so the peak is the largest of the moments.

Figures are for float32. The CPU's feature dropout keeps a seed alone (`gat.nn.dropout`) and the
attention operators keep two numbers per node and head (`gat.ops`), nothing per edge.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from gat.train.config import TrainConfig
from gat.train.memory_sizes import Level, Sizes

__all__ = ["Room", "Tape", "follow_step", "what_stays"]

FLOAT, INT, SHORT = 4, 8, 4
PASSING = "gradients and temporaries"
# Of jumping knowledge by a cell: what autograd keeps of a step, and what waits for a while of its
# gradients, in multiples of its state. An LSTM's four gates, the cell before, its tanh, what goes
# in and out; the gradients of its gates twice, step by step and joined, for their product.
KEPT_BY_CELL = {
    "lstm": (8, 8),
    "rnn": (3, 2),
    "gru": (8, 4),
    "janet": (5, 3),
    "indrnn": (3, 2),
    "attentive-rnn": (3, 2),
    "attentive-lstm": (7, 5),
}


@dataclass(frozen=True)
class Room:
    """Bytes of one part, by what they grow with."""

    part: str
    nodes: float = 0
    edges: float = 0
    fixed: float = 0

    @property
    def total(self) -> float:
        return self.nodes + self.edges + self.fixed


class Tape:
    """What is held as a step goes on, and what was held at its peak."""

    def __init__(self, stays: Sequence[Room]) -> None:
        self.held = list(stays)
        self.peak = list(stays)

    def keep(self, part: str, level: Level, **bytes_each: float) -> None:
        """Hold ``src`` bytes per source, ``dst`` per target, ``edge`` per edge."""
        self.held.append(_room(part, level, **bytes_each))
        self.moment(level)

    def moment(self, level: Level, *, fixed: float = 0, **bytes_each: float) -> None:
        """Hold that much more for a while."""
        passing = _room(PASSING, level, fixed=fixed, **bytes_each)
        if _sum(self.held) + passing.total > _sum(self.peak):
            self.peak = [*self.held, passing]


def _sum(rooms: Sequence[Room]) -> float:
    return sum(room.total for room in rooms)


def _room(
    part: str, level: Level, *, src: float = 0, dst: float = 0, edge: float = 0, fixed: float = 0
) -> Room:
    # Each node has one loop.
    nodes = src * level.sources + dst * level.targets + edge * level.loops
    return Room(part, nodes, edge * level.edges, fixed)


def what_stays(config: TrainConfig, sizes: Sizes, model: nn.Module) -> list[Room]:
    """What a run holds from its first step to its last."""
    return [_data(sizes), *_batch(config, sizes), _weights(config, model)]


def _data(sizes: Sizes) -> Room:
    """The task as it was read: features, labels, masks, edges."""
    nodes = sizes.nodes if sizes.loaded_nodes is None else sizes.loaded_nodes
    edges = sizes.edges if sizes.loaded_edges is None else sizes.loaded_edges
    labels = FLOAT * sizes.classes if sizes.multilabel else INT
    node = FLOAT * sizes.features + labels + 3 * sizes.splits
    edge = 2 * INT + FLOAT * (sizes.edge_dim or 0)
    return Room("data", node * nodes, edge * edges)


def _batch(config: TrainConfig, sizes: Sizes) -> list[Room]:
    """What is made of the task: features as they are multiplied, rows and labels, the graph."""
    features = FLOAT * sizes.features if config.data.normalize_features != "none" else 0
    sparse = 0
    if sizes.density is not None:
        # Values, columns; of the matrix as a graph its columns, and those the kernels walk over.
        sparse, features = FLOAT + 2 * INT + 4 * SHORT, 0
    labels = INT + (FLOAT * sizes.classes if sizes.multilabel else INT)
    rooms = [
        Room("data", labels * sizes.nodes + features * sizes.nodes + sparse * sizes.nonzero),
        Room("graph", INT * sizes.nodes, 2 * INT * sizes.edges),
    ]
    if config.data.undirected:
        # The graph as it was read is kept beside that of both directions.
        edge_attr = FLOAT * (sizes.edge_dim or 0)
        rooms.append(Room("graph", INT * sizes.nodes, (INT + edge_attr) * sizes.edges))
    return rooms


def _weights(config: TrainConfig, model: nn.Module) -> Room:
    """Weights, gradients, the optimiser's state, and the best weights so far."""
    count = sum(parameter.numel() for parameter in model.parameters())
    copies = {"adam": 2, "adamw": 2, "rmsprop": 1 + (config.optimizer.momentum > 0)}
    kept = 0 if config.stopping.name == "none" else 1
    return Room("weights", fixed=FLOAT * count * (2 + copies[config.optimizer.name] + kept))


def follow_step(
    tape: Tape, config: TrainConfig, sizes: Sizes, levels: Sequence[Level], gpu: bool = False
) -> None:
    """Put a training step on the tape. levels: one for each attention layer."""
    _Step(tape, config, sizes, levels, gpu).follow()


class _Step:
    """The step of one network; the methods stand in the order of its forward pass."""

    def __init__(
        self, tape: Tape, config: TrainConfig, sizes: Sizes, levels: Sequence[Level], gpu: bool
    ) -> None:
        self.tape, self.sizes, self.levels = tape, sizes, levels
        self.model, self.gpu = config.model, gpu
        self.sampled = config.sampling.name not in ("none", "auto")
        self.half = config.precision == "bfloat16"
        options = self.model
        self.jumps = options.jumping_knowledge != "none"
        self.ends_linear = options.linear_output or self.jumps
        count = options.num_layers - (not self.ends_linear)
        heads = options.heads
        self.heads = [heads] * count if isinstance(heads, int) else list(heads)
        self.widths = [options.hidden_channels * (h if options.concat else 1) for h in self.heads]
        # Bytes per node of activations that the forward holds until it ends.
        self.outputs = 0

    def follow(self) -> None:
        width = self._enter()
        for number, heads in enumerate(self.heads):
            level, part = self.levels[number], f"layer {number + 1}"
            if number == 0:
                self._sort_edges(level)
            else:
                self._drop(part, level, width)
            width = self._hidden_layer(part, level, number, width, heads)
        level, last = self.levels[-1], f"layer {len(self.heads) + 1}"
        if self.jumps:
            width = self._jump(level)
        if len(self.heads):
            self._drop("output" if self.ends_linear else last, level, width)
        else:
            self._sort_edges(level)
        if not self.ends_linear:
            options = self.model
            made = self._attend(last, level, width, options.output_heads, self.sizes.classes, 0)
            self.tape.moment(level, dst=FLOAT * self.sizes.classes * made + self.outputs)
        self._loss(level)

    def _enter(self) -> int:
        """The features: dropped out, maybe projected. Returns how many enter the first layer."""
        options, level, sizes = self.model, self.levels[0], self.sizes
        dropout = (
            options.feature_dropout if options.input_dropout is None else options.input_dropout
        )
        if self.sampled:
            self.tape.keep("batch", level, src=FLOAT * sizes.features + 2 * INT)
        if dropout and sizes.density is not None:
            stored = FLOAT * sizes.nonzero / max(sizes.nodes, 1)
            self.tape.keep("layer 1", level, src=stored)
        elif dropout:
            self.tape.keep("layer 1", level, src=(FLOAT + self.gpu) * sizes.features)
        if not options.linear_input:
            return sizes.features
        hidden = options.hidden_channels
        self.tape.keep("layer 1", level, src=FLOAT * hidden)
        self.tape.moment(level, src=2 * FLOAT * hidden)
        self._drop("layer 1", level, hidden)
        return hidden

    def _sort_edges(self, level: Level) -> None:
        """What the first layer makes of the edges, once: with loops, and in both directions."""
        loops = self.model.add_self_loops
        if loops:
            # The whole graph's edges in listed order; kept, columns, key, and a sort of its own.
            self.tape.keep("graph", level, edge=3 * INT)
            self.tape.moment(level, edge=9 * INT)
            self.tape.keep("graph", level, src=2 * INT, edge=3 * INT)
        if loops and self.sizes.edge_dim and self._takes_edges:
            self.tape.keep("graph", level, edge=3 * INT)
        self.tape.keep("graph", level, src=2 * SHORT, edge=2 * SHORT)
        self.tape.moment(level, edge=5 * INT)
        self.tape.keep("graph", level, edge=3 * SHORT)
        if self.model.symmetric_norm:
            self.tape.keep("graph", level, src=2 * INT)

    @property
    def _takes_edges(self) -> bool:
        return bool(self.sizes.edge_dim)

    def _drop(self, part: str, level: Level, width: int) -> None:
        """Feature dropout of a layer's input. Backward: the gradient before and after."""
        if self.model.feature_dropout:
            self.tape.keep(part, level, src=(FLOAT + self.gpu) * width)
            self.tape.moment(level, src=2 * FLOAT * width)
        elif self.model.activation != "relu":
            # The activation's own output, held by the layer it enters.
            self.tape.keep(part, level, src=FLOAT * width)
            self.outputs -= FLOAT * width

    def _hidden_layer(self, part: str, level: Level, number: int, width: int, heads: int) -> int:
        options, out = self.model, self.widths[number]
        # Gradients that wait while the attention's backward runs: of the skip, of the jump.
        waiting = len(self.widths) * out if options.jumping_knowledge == "max" else 0
        waiting += sum(self.widths) if options.jumping_knowledge not in ("none", "max") else 0
        linear = options.residual == "linear" or (options.residual == "identity" and width != out)
        first = number == 0 and not options.linear_input
        waiting += width if linear and not first else 0
        fresh = self._attend(
            part, level, width, heads, options.hidden_channels, waiting, first=first
        )
        if linear:
            self.tape.moment(level, dst=FLOAT * 3 * out + self.outputs)
        fresh = fresh or options.residual != "none"
        relu, normed = options.activation == "relu", options.norm != "none"
        kept = (fresh and (normed or not relu)) + normed
        kept += relu - (relu and normed)
        self.tape.keep(part, level, dst=FLOAT * out * kept)
        self.tape.moment(level, dst=FLOAT * (2 * out + waiting))
        self.outputs += 0 if relu else FLOAT * out
        return out

    def _attend(
        self,
        part: str,
        level: Level,
        width: int,
        heads: int,
        channels: int,
        waiting: int,
        first: bool = False,
    ) -> bool:
        """One attention layer, its input kept already. Returns whether its output is a tensor of
        its own, rather than the operator's."""
        options, tape = self.model, self.tape
        two = options.attention == "gatv2"
        inner, score = FLOAT * heads * channels, FLOAT * heads
        waiting *= FLOAT
        entering = 0 if first else FLOAT * width
        # Backward of the projection.
        tape.moment(level, src=inner + entering + waiting, dst=inner * two)
        halves = heads * channels * 2 if self.half else 0
        tape.keep(part, level, src=inner + halves, dst=inner * two)
        if self._takes_edges:
            self._edge_terms(part, level, inner, score, two)
        if not two:
            tape.keep(part, level, src=score, dst=score)
        own_value = bool(options.value_dropout) or options.symmetric_norm
        if options.value_dropout and options.symmetric_norm:
            tape.moment(level, src=2 * inner)
        tape.keep(part, level, src=inner * own_value + self._mask(inner))
        tape.keep(part, level, dst=inner + 2 * score)
        tape.moment(level, dst=2 * inner + self.outputs)
        # Backward of the operator: the gradients of its output and of all that entered it.
        edges = (inner if two else score) if self._takes_edges else 0
        ends = inner * (1 + own_value) if two else inner + score
        tape.moment(level, src=ends + waiting, dst=inner * (1 + two) + score, edge=edges)
        averaged = heads > 1 and not (options.concat and channels == options.hidden_channels)
        return bool(options.bias or options.symmetric_norm or averaged)

    def _mask(self, inner: float) -> float:
        """torch's own dropout keeps one byte per entry."""
        return inner / FLOAT if self.gpu and self.model.value_dropout else 0

    def _edge_terms(self, part: str, level: Level, inner: float, score: float, two: bool) -> None:
        """Edge features with the loops' filled in, and what is projected of them."""
        given = FLOAT * (self.sizes.edge_dim or 0)
        self.tape.keep(part, level, edge=given if level.loops else 0)
        self.tape.moment(level, edge=given)
        self.tape.keep(part, level, edge=inner if two else score)

    def _jump(self, level: Level) -> int:
        """Jumping knowledge: the states put together. Returns how wide what it gives is."""
        kind, widths, tape = self.model.jumping_knowledge, self.widths, self.tape
        all_states = FLOAT * sum(widths)
        if kind == "cat":
            tape.moment(level, dst=all_states + self.outputs)
            # Beside the states, which the forward still holds, and then their gradients.
            tape.moment(level, dst=2 * all_states + self.outputs)
            return sum(widths)
        tape.moment(level, dst=all_states + self.outputs)
        if kind == "max":
            tape.keep("jump", level, dst=INT * widths[0])
            tape.moment(level, dst=all_states + FLOAT * widths[0] + self.outputs)
        elif kind == "attention":
            # The states and their projections, the query for every node; and gradients of all.
            tape.keep("jump", level, dst=2 * all_states + 2 * FLOAT * widths[0])
            tape.moment(level, dst=2 * all_states + 2 * FLOAT * widths[0])
        else:
            # Two directions of a cell of half the states' width, a step for each state.
            steps = FLOAT * 2 * len(widths) * (sum(widths) // 2)
            kept, moment = KEPT_BY_CELL[kind]
            # Each step of an attentive one keeps the states so far.
            so_far = (len(widths) + 1) / 2 if kind.startswith("attentive") else 0
            copies = 1 if kind == "lstm" else 3
            tape.keep("jump", level, dst=copies * all_states + (kept + so_far) * steps)
            tape.moment(level, dst=moment * steps)
        return widths[0]

    def _loss(self, level: Level) -> None:
        """The output, the rows it is judged by, their loss; backward, the output's gradient."""
        sizes, options = self.sizes, self.model
        classes = FLOAT * sizes.classes
        rows = level.targets if sizes.trained is None else min(sizes.trained, level.targets)
        judged = Level(rows, rows, 0, 0)
        if self.ends_linear:
            self.tape.moment(level, dst=classes + self.outputs)
        self.tape.keep("loss", judged, dst=classes * (5 if sizes.multilabel else 1))
        self.tape.moment(level, dst=classes * options.output_heads, fixed=2 * classes * rows)
