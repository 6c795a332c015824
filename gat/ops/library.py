"""Attention by compiled kernels: the operators registered with torch, and how a call reaches them.

One schema serves every device that has kernels: `cpu` is the backend of the CPU's (`gat.ops.cpu`),
`triton` that of a GPU's (`gat.ops.triton`). Inputs arrive checked (`gat.ops.attention`,
`gat.ops.steps`).
"""

from typing import Any

import torch
from torch import Tensor
from torch.fx.experimental.symbolic_shapes import guard_or_false

from gat.errors import ArgumentTypeError, BackendError
from gat.graph import CompactEdges, Graph
from gat.ops import reference
from gat.ops.precision import result_dtype, wide
from gat.ops.registration import Arguments, Inputs, Operator, call_operator, register
from gat.ops.walk import DTYPES, Options, Walk
from gat.ops.watchers import is_transformed

__all__ = ["Compiled", "cpu", "triton"]

Result = tuple[Tensor, Tensor | None]


def _attention(options: Options, rest: tuple[Any, ...]) -> dict[str, Any]:
    seed, return_weights = rest
    return {"dropout": options.dropout, "seed": seed, "return_weights": return_weights}


OPERATORS = [
    Operator(
        "additive",
        "Tensor value, Tensor score_src, Tensor? score_dst, Tensor? score_edge",
        lambda graph, options, rest, *inputs: reference.additive(
            graph, *inputs, negative_slope=options.negative_slope, **_attention(options, rest)
        ),
        value=lambda inputs: inputs[0],
        whole=True,
    ),
    Operator(
        "gatv2",
        "Tensor key, Tensor query, Tensor att, Tensor? edge, Tensor? value",
        lambda graph, options, rest, key, query, att, edge, value: reference.gatv2(
            graph,
            key,
            query,
            att,
            edge,
            key if value is None else value,
            activation=options.activation,
            negative_slope=options.negative_slope,
            **_attention(options, rest),
        ),
        value=lambda inputs: inputs[0] if inputs[4] is None else inputs[4],
        whole=True,
    ),
    Operator(
        "dot",
        "Tensor query, Tensor key, Tensor value, Tensor? edge_key, Tensor? edge_value",
        lambda graph, options, rest, *inputs: reference.dot(
            graph, *inputs, scale=options.scale, **_attention(options, rest)
        ),
        value=lambda inputs: inputs[2],
        whole=True,
    ),
    Operator(
        "additive_scores",
        "Tensor score_src, Tensor? score_dst, Tensor? score_edge",
        lambda graph, options, rest, *inputs: reference.additive_scores(
            graph, *inputs, negative_slope=options.negative_slope
        ),
    ),
    Operator(
        "gatv2_scores",
        "Tensor key, Tensor query, Tensor att, Tensor? edge",
        lambda graph, options, rest, *inputs: reference.gatv2_scores(
            graph, *inputs, activation=options.activation, negative_slope=options.negative_slope
        ),
    ),
    Operator(
        "dot_scores",
        "Tensor query, Tensor key, Tensor? edge_key",
        lambda graph, options, rest, *inputs: reference.dot_scores(
            graph, *inputs, scale=options.scale
        ),
    ),
    Operator(
        "segment_softmax",
        "Tensor scores",
        lambda graph, options, rest, *inputs: reference.segment_softmax(graph, *inputs),
    ),
    Operator(
        "segment_entmax",
        "Tensor scores, Tensor alpha",
        lambda graph, options, rest, *inputs: reference.segment_entmax(graph, *inputs),
    ),
    Operator(
        "aggregate",
        "Tensor weights, Tensor value, Tensor? edge_value",
        lambda graph, options, rest, *inputs: reference.aggregate(graph, *inputs),
        value=lambda inputs: inputs[1],
    ),
]
for _operator in OPERATORS:
    register(_operator)
BY_NAME = {operator.name: operator for operator in OPERATORS}


class Compiled:
    """The operators by compiled kernels: a backend. ``scheduled``: by those that work by a graph's
    schedule, Triton's, on whatever device the graph is."""

    def __init__(self, scheduled: bool) -> None:
        self.scheduled = scheduled

    def additive(
        self,
        graph: Graph,
        value: Tensor,
        score_src: Tensor,
        score_dst: Tensor | None,
        score_edge: Tensor | None,
        *,
        negative_slope: float,
        dropout: float,
        seed: Tensor | None,
        return_weights: bool,
    ) -> Result:
        trained = torch.is_grad_enabled() and score_dst is not None and score_dst.requires_grad
        rated = self.scheduled and trained and _is_dense(graph, value)
        options = Options(dropout, negative_slope=negative_slope, rated=rated)
        inputs = (value, score_src, score_dst, score_edge)
        return self._attend("additive", graph, options, seed, return_weights, inputs)

    def gatv2(
        self,
        graph: Graph,
        key: Tensor,
        query: Tensor,
        att: Tensor,
        edge: Tensor | None,
        value: Tensor,
        *,
        activation: str,
        negative_slope: float,
        dropout: float,
        seed: Tensor | None,
        return_weights: bool,
    ) -> Result:
        options = Options(dropout, negative_slope, activation)
        # Keys that are the values are gathered once.
        inputs = (key, query, att, edge, None if value is key else value)
        return self._attend("gatv2", graph, options, seed, return_weights, inputs)

    def dot(
        self,
        graph: Graph,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        edge_key: Tensor | None,
        edge_value: Tensor | None,
        *,
        scale: float,
        dropout: float,
        seed: Tensor | None,
        return_weights: bool,
    ) -> Result:
        options = Options(dropout, scale=scale)
        inputs = (query, key, value, edge_key, edge_value)
        return self._attend("dot", graph, options, seed, return_weights, inputs)

    def additive_scores(
        self,
        graph: Graph,
        score_src: Tensor,
        score_dst: Tensor | None,
        score_edge: Tensor | None,
        *,
        negative_slope: float,
    ) -> Tensor:
        inputs = (score_src, score_dst, score_edge)
        options = Options(negative_slope=negative_slope)
        return self._run("additive_scores", graph, options, (), inputs)

    def gatv2_scores(
        self,
        graph: Graph,
        key: Tensor,
        query: Tensor,
        att: Tensor,
        edge: Tensor | None,
        *,
        activation: str,
        negative_slope: float,
    ) -> Tensor:
        options = Options(negative_slope=negative_slope, activation=activation)
        return self._run("gatv2_scores", graph, options, (), (key, query, att, edge))

    def dot_scores(
        self, graph: Graph, query: Tensor, key: Tensor, edge_key: Tensor | None, *, scale: float
    ) -> Tensor:
        options = Options(scale=scale)
        return self._run("dot_scores", graph, options, (), (query, key, edge_key))

    def segment_softmax(self, graph: Graph, scores: Tensor) -> Tensor:
        return self._run("segment_softmax", graph, Options(), (), (scores,))

    def aggregate(
        self, graph: Graph, weights: Tensor, value: Tensor, edge_value: Tensor | None
    ) -> Tensor:
        inputs = (weights, value, edge_value)
        return self._run("aggregate", graph, Options(), (), inputs)

    def _attend(
        self,
        name: str,
        graph: Graph,
        options: Options,
        seed: Tensor | None,
        return_weights: bool,
        inputs: Inputs,
    ) -> Result:
        out, _, weights = self._run(name, graph, options, (seed, return_weights), inputs)
        return out, weights if return_weights else None

    def _run(
        self,
        name: str,
        graph: Graph,
        options: Options,
        rest: tuple[Any, ...],
        inputs: Inputs,
    ) -> Any:
        """Call an operator with inputs of one dtype and the arrays of the graph that it needs."""
        given = [tensor for tensor in inputs if tensor is not None]
        dtype = result_dtype(*given)
        _check_dtype(dtype)
        inputs = tuple(None if tensor is None else tensor.to(dtype) for tensor in inputs)
        if not torch.compiler.is_compiling() and is_transformed():
            return _define(name, graph, options, rest, inputs)
        training = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in given)
        if self.scheduled and not torch.compiler.is_compiling():
            _refuse_capture(graph, training)
        walk = _walk(graph, training, _is_numbered(name, options, rest, inputs))
        if self.scheduled:
            walk = _scheduled(walk, graph, training)
        return call_operator(BY_NAME[name], Arguments(inputs, walk, options, rest))


class CompiledForCpu(Compiled):
    """With the kernels that there are for the CPU alone."""

    def segment_entmax(self, graph: Graph, scores: Tensor, alpha: Tensor) -> Tensor:
        _check_dtype(scores.dtype)
        score = wide(scores)
        if score is not scores:
            # Gradients are worked out of the weights, for which 16 bits are too few.
            score = score.clamp(max=torch.finfo(scores.dtype).max)
        return self._run("segment_entmax", graph, Options(), (), (score, alpha)).to(scores.dtype)


cpu, triton = CompiledForCpu(scheduled=False), Compiled(scheduled=True)


def _check_dtype(dtype: torch.dtype) -> None:
    if dtype not in DTYPES:
        raise ArgumentTypeError(
            f"the inputs' common dtype is {dtype}; expected one of "
            f"{', '.join(map(str, DTYPES))}, or use backend='reference'"
        )


def _define(
    name: str, graph: Graph, options: Options, rest: tuple[Any, ...], inputs: Inputs
) -> Any:
    """By the definition, as an operator gives it: a whole attention's statistics are not made."""
    result = BY_NAME[name].define(graph, options, rest, *inputs)
    return (result[0], None, result[1]) if BY_NAME[name].whole else result


def _is_numbered(name: str, options: Options, rest: tuple[Any, ...], inputs: Inputs) -> bool:
    """Whether the backward must know which edge is which, as a score of keys and queries need not
    where nothing is said of edges."""
    if name not in ("dot", "gatv2"):
        return True
    _, return_weights = rest
    of_edges = inputs[3:] if name == "dot" else inputs[3:4]
    return options.dropout > 0 or return_weights or any(x is not None for x in of_edges)


def _is_dense(graph: Graph, value: Tensor) -> bool:
    """Whether a number per edge and head is more than what statistics hold in its place."""
    return bool(guard_or_false(graph.num_edges > graph.num_dst * (value.size(2) + 2)))


def _is_capturing(device: torch.device) -> bool:
    return device.type == "cuda" and torch.cuda.is_current_stream_capturing()


def _refuse_capture(graph: Graph, training: bool) -> None:
    """What a graph has worked out while a CUDA graph was captured is never written."""
    last = "source_schedule" if training else "schedule"
    if _is_capturing(graph.device) and last not in graph.__dict__:
        raise BackendError(
            f"{graph} is used for the first time{' in training' if training else ''} while a CUDA "
            f"graph is captured, which cannot hold the sorting of its edges; run one step before "
            f"capturing"
        )


def _scheduled(walk: Walk, graph: Graph, training: bool) -> Walk:
    walk = walk._replace(units=graph.schedule.units, counts=graph.schedule.counts)
    if not training:
        return walk
    back = graph.source_schedule
    return walk._replace(source_units=back.units, source_counts=back.counts)


def _walk(graph: Graph, training: bool, numbered: bool = True) -> Walk:
    if not training:
        return Walk(*_arrays(graph.by_target), None, None, None, None)
    if not numbered:
        return Walk(*_arrays(graph.by_target), *_arrays(graph.ends_by_source), None)
    return Walk(*_arrays(graph.by_target), *_arrays(graph.by_source), graph.transposed)


def _arrays(edges: CompactEdges) -> tuple[Tensor, Tensor, Tensor | None]:
    return edges.rowptr, edges.col, edges.number
