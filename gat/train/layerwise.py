"""What a network says of all nodes, computed layer by layer: exact, and in bounded memory.

Each attention layer is computed for all nodes before the next one is begun, some targets at a time
with all their neighbours (the inference of Hamilton et al. 2017, "Inductive Representation Learning
on Large Graphs", algorithm 1, layer for layer), so no node is computed twice in a layer. It is the
forward pass over the whole graph, up to rounding.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from gat.data import normalize_features
from gat.errors import InputError
from gat.graph import Graph
from gat.sampling import Sampler
from gat.sampling.neighbors import check_nodes
from gat.sampling.prefetch import gather
from gat.train.chunks import Cost, chunks, costs_of
from gat.train.degrees import WholeDegrees
from gat.train.spill import room_for

__all__ = ["Inference", "predict"]

# Bytes, where nothing else is said.
ROOM = 4 * 2**30
OnStage = Callable[[int, int], Any]


@dataclass(frozen=True)
class Inference:
    """How outputs for whole graphs are computed, see `predict`.

    normalize: how rows of x are scaled as they are read.
    """

    bytes: float = ROOM
    batch_size: int | None = None
    normalize: str = "none"

    def rows(self, x: Tensor) -> Tensor:
        """Rows of x as the network is fed them."""
        return normalize_features(x, self.normalize)  # type: ignore[arg-type]


def predict(
    model: nn.Module,
    x: Tensor,
    graph: Any,
    edge_attr: Tensor | None = None,
    *,
    nodes: Tensor | None = None,
    bytes: float = ROOM,
    batch_size: int | None = None,
    on_stage: OnStage | None = None,
) -> Tensor:
    """The outputs [N, K] of a `gat.models.GAT` in evaluation mode, or those of ``nodes``, int64.

    x: [N, F], dense or sparse CSR; it may lie in a file (memory-mapped), of which rows are read as
    they are needed. graph: a `gat.Graph` without added self-loops, or an edge_index. edge_attr:
    [E, D] in the caller's order. They stay where they are; parts of them are moved to the model's
    device, and outputs come back to x's.

    bytes: what may be taken by a part of a layer that is computed at a time: gathered inputs,
    projections, edges, outputs. A target whose own edges take more is computed nevertheless. What a
    layer gives all nodes is kept besides, in a temporary file where it takes more than ``bytes``.
    Where every whole layer takes less, this is the plain forward pass. batch_size: at most so many
    targets at a time. on_stage: called after each layer with its number, from 1, and their count.

    Raises InputError for a model that does not run layer by layer, and for edge_attr that has not
    one row for each edge.
    """
    if batch_size is not None and batch_size < 1:
        raise InputError(f"batch_size is {batch_size}; expected 1 or more targets, or None")
    return run(model, x, graph, edge_attr, Inference(bytes, batch_size), nodes, on_stage)


def run(
    model: nn.Module,
    x: Tensor,
    graph: Any,
    edge_attr: Tensor | None,
    way: Inference,
    nodes: Tensor | None = None,
    on_stage: OnStage | None = None,
) -> Tensor:
    """As `predict`, in the ``way`` given."""
    if not hasattr(model, "stages"):
        raise InputError(
            f"{type(model).__name__} has no stages, layers that can be computed one by one; pass a "
            "gat.models.GAT, or call the model on the whole graph"
        )
    if not isinstance(graph, Graph):
        graph = Graph.from_edge_index(graph, x.size(0))
    if edge_attr is not None and len(edge_attr) != graph.num_caller_edges:
        raise InputError(
            f"edge_attr has {len(edge_attr)} rows; expected one per edge, {graph.num_caller_edges}"
        )
    if nodes is not None:
        nodes = check_nodes(nodes, graph.num_dst)
    with _evaluating(model), ExitStack() as stack:
        layers = _Layers(model, x, graph, edge_attr, way, stack)
        if layers.fit_at_once():
            out = layers.at_once(on_stage)
            return out if nodes is None else out[nodes.to(out.device)]
        return layers.outputs(nodes, on_stage)


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    # Each module's own: a part of a network in training may be frozen.
    were = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, was in were:
            module.training = was


class _Layers:
    """One computation: the layers of a model, over all nodes of a graph."""

    def __init__(
        self,
        model: Any,
        x: Tensor,
        graph: Graph,
        edge_attr: Tensor | None,
        way: Inference,
        stack: ExitStack,
    ) -> None:
        self.model, self.x, self.graph, self.edge_attr = model, x, graph, edge_attr
        self.way, self.stack = way, stack
        self.device = next(model.parameters(), x).device
        self.stages = model.stages()
        edge_dim = 0 if edge_attr is None else edge_attr.size(1)
        self.costs = costs_of(model, x.size(1), edge_dim, graph.num_src)

    def fit_at_once(self) -> bool:
        """Whether each layer fits whole."""
        count, edges = self.graph.num_dst, self.graph.num_edges
        few = self.way.batch_size is None or count <= self.way.batch_size
        return few and all(cost.of(count, edges) <= self.way.bytes for cost in self.costs)

    def at_once(self, on_stage: OnStage | None) -> Tensor:
        edge_attr = None if self.edge_attr is None else self.edge_attr.to(self.device)
        x, graph = self.way.rows(self.x).to(self.device), self.graph.to(self.device)
        states: list[Tensor] = []
        for number, stage in enumerate(self.stages):
            x = stage.forward(x, graph, edge_attr)
            states = [*states, x] if self.model.keeps_states else [x]
            if on_stage is not None:
                on_stage(number + 1, len(self.stages))
        return self.model.finish(states).to(self.x.device)

    def outputs(self, nodes: Tensor | None, on_stage: OnStage | None) -> Tensor:
        self.sampler = Sampler(self.graph.to("cpu"), [-1])
        options = self.model.options
        self.degrees = None
        if options["symmetric_norm"]:
            self.degrees = WholeDegrees.of(self.sampler.graph, options["add_self_loops"])
        wanted = self._wanted(nodes)
        given, read = self.x, self.way.rows
        if self.model.input is not None:
            # In evaluation mode this is all that a stage's `prepare` does.
            given, read = self._linear_input(), _as_it_is
        states: list[Tensor] = []
        for number in range(len(self.stages)):
            given = self._stage(number, given, read, wanted[number])
            states, read = [*states, given] if self.model.keeps_states else [given], _as_it_is
            if on_stage is not None:
                on_stage(number + 1, len(self.stages))
        return self._finished(states, nodes)

    def _wanted(self, nodes: Tensor | None) -> list[Tensor | None]:
        """The targets of each stage, None for all: the nodes, and those within reach of them."""
        wanted: list[Tensor | None] = [None] * len(self.stages)
        if nodes is None:
            return wanted
        reached = torch.zeros(self.graph.num_dst, dtype=torch.bool)
        reached[nodes] = True
        for number in reversed(range(len(self.stages))):
            wanted[number] = reached.nonzero().squeeze(1)
            for targets in self._parts(number, wanted[number]) if number else ():
                reached[self.sampler.sample(targets).nodes] = True
        return wanted

    def _parts(self, number: int, wanted: Tensor | None) -> Iterator[Tensor]:
        """The targets of a stage, a part at a time."""
        pointer = self.sampler.graph.by_target.rowptr
        if wanted is not None:
            pointer = _pointer(pointer.diff().long()[wanted])
        cost = self.costs[number]
        for begin, end in chunks(pointer, cost, self.way.bytes, self.way.batch_size):
            yield torch.arange(begin, end) if wanted is None else wanted[begin:end]

    def _stage(
        self,
        number: int,
        given: Tensor,
        read: Callable[[Tensor], Tensor],
        wanted: Tensor | None,
    ) -> Tensor:
        """What a stage gives, [N, width], of what the one before gave."""
        out: Tensor | None = None
        for targets in self._parts(number, wanted):
            sample = self.sampler.sample(targets)
            graph = sample.graphs[0]
            if self.degrees is not None:
                self.degrees.give(graph, sample.nodes)
            x = read(gather(given, sample.nodes)).to(self.device)
            attr = self._edge_rows(sample.edges) if self.edge_attr is not None else None
            rows = self.stages[number].attend(x, graph.to(self.device), attr)
            is_result = number + 1 == len(self.stages) and not self.ends_linear
            out = self._filled(out, targets, rows, math.inf if is_result else self.way.bytes)
        assert out is not None
        return out

    def _edge_rows(self, edges: Tensor) -> Tensor:
        assert self.edge_attr is not None
        return gather(self.edge_attr, edges).to(self.device)

    def _linear_input(self) -> Tensor:
        out: Tensor | None = None
        for nodes in self._rows(self.graph.num_src, self.x.size(1) + self.costs[0].source):
            rows = self.way.rows(gather(self.x, nodes)).to(self.device)
            out = self._filled(out, nodes, self.stages[0].prepare(rows), self.way.bytes)
        assert out is not None
        return out

    def _finished(self, states: list[Tensor], nodes: Tensor | None) -> Tensor:
        """The model's outputs of what its stages gave."""
        if not self.ends_linear:
            out = states[-1] if nodes is None else states[-1][nodes]
            return out.to(self.x.device)
        count = self.graph.num_dst if nodes is None else nodes.numel()
        outs = []
        for rows in self._rows(count, 2 * sum(state.size(1) for state in states)):
            at = rows if nodes is None else nodes[rows]
            parts = [gather(state, at).to(self.device) for state in states]
            outs.append(self.model.finish(parts).to(self.x.device))
        return torch.cat(outs)

    @property
    def ends_linear(self) -> bool:
        """Whether what the last stage gives is not yet the result."""
        return isinstance(self.model.output, nn.Linear)

    def _rows(self, count: int, width: int) -> Iterator[Tensor]:
        """Numbers 0 .. count-1, as many at a time as fit with ``width`` floats each."""
        each = Cost(0, 4 * max(width, 1), 0, count)
        for begin, end in chunks(torch.zeros(count + 1), each, self.way.bytes):
            yield torch.arange(begin, end)

    def _filled(self, out: Tensor | None, targets: Tensor, rows: Tensor, limit: float) -> Tensor:
        """Rows put in their places, in a tensor [N, .] that is made for the first of them."""
        if out is None:
            count, width = self.graph.num_dst, rows.size(1)
            out = room_for(count, width, rows.dtype, limit, self.stack)
        return out.index_copy_(0, targets, rows.cpu())


def _as_it_is(x: Tensor) -> Tensor:
    return x


def _pointer(counts: Tensor) -> Tensor:
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])
