"""The compiled kernels as functions of tensors: outputs allocated, pointers passed, no checks.

`gat.ops.library` makes operators of them. Every tensor is on the CPU and of one floating dtype;
edges are a `gat.graph.CompactEdges`' tensors; per-edge tensors are in listed order.
"""

import ctypes
import functools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from gat.errors import BackendError
from gat.ops import cpu
from gat.ops.dropout import threshold
from gat.ops.walk import Incoming, Options, Walk, stats_dtype

__all__ = [
    "additive_backward",
    "additive_forward",
    "dot_backward",
    "dot_forward",
    "drop_entries",
    "gatv2_backward",
    "gatv2_forward",
    "head_scores_backward",
    "head_scores_forward",
]

CODES = {torch.float32: 0, torch.float64: 1, torch.bfloat16: 2, torch.float16: 3}
INDICES = {torch.int32: 0, torch.int64: 1}
ACTIVATIONS = {"leaky_relu": 0, "tanh": 1}

_INT, _POINTER, _DOUBLE = ctypes.c_int64, ctypes.c_void_p, ctypes.c_double


class Csr(ctypes.Structure):
    """`Csr` of api.h."""

    _fields_ = [("rows", _INT), ("rowptr", _POINTER), ("col", _POINTER), ("number", _POINTER)]


class Call(ctypes.Structure):
    """`Call` of api.h, field by field."""

    _fields_ = [
        *((name, _INT) for name in ("dtype", "index", "threads")),
        *((name, _INT) for name in ("heads", "key_channels", "value_channels")),
        ("by_target", Csr),
        ("by_source", Csr),
        ("transposed", _POINTER),
        *((name, _POINTER) for name in ("value", "key", "query", "att", "edge", "edge_value")),
        ("activation", _INT),
        ("slope", _DOUBLE),
        ("scale", _DOUBLE),
        ("seed", _POINTER),
        ("threshold", _INT),
        ("dropout_scale", _DOUBLE),
        *((name, _POINTER) for name in ("out", "stats", "weights")),
        *((name, _POINTER) for name in ("per_edge", "grad_per_edge", "grad_out", "grad_weights")),
        *((f"grad_{name}", _POINTER) for name in ("value", "key", "query", "att", "edge")),
        ("grad_edge_value", _POINTER),
    ]

    def point(self, **tensors: Tensor | None) -> None:
        """Set pointers by field; a tensor lives as long as the call."""
        kept = self.__dict__.setdefault("kept", [])
        for name, tensor in tensors.items():
            if tensor is not None:
                kept.append(tensor.contiguous())
                setattr(self, name, kept[-1].data_ptr())

    def drop(self, seed: Tensor, p: float) -> None:
        self.point(seed=seed)
        self.threshold = threshold(p)
        self.dropout_scale = 0.0 if p >= 1 else 1 / (1 - p)

    def results(self, dtype: torch.dtype, weights: bool) -> tuple[Tensor, Tensor, Tensor]:
        """out [num_dst, H, C], stats [num_dst, H, 2] and weights [E, H] (or empty) to be filled."""
        nodes, heads = self.by_target.rows, self.heads
        out = torch.empty((nodes, heads, self.value_channels), dtype=dtype, device="cpu")
        stats = torch.empty((nodes, heads, 2), dtype=stats_dtype(dtype), device="cpu")
        weight = torch.empty((self.num_edges if weights else 0, heads), dtype=dtype, device="cpu")
        self.point(out=out, stats=stats, weights=weight if weights else None)
        return out, stats, weight

    def step(self, name: str, like: Tensor) -> Tensor:
        """Run a step that gives numbers per edge [E, H]."""
        numbers = torch.empty((self.num_edges, self.heads), dtype=like.dtype, device="cpu")
        self.point(per_edge=numbers)
        self.run(f"{name}_forward")
        return numbers

    def gradients(self, needed: Sequence[bool], **tensors: Tensor | None) -> list[Tensor]:
        """Tensors to be filled with the gradients of these, by field; empty where not needed."""
        grads = []
        for (name, tensor), wanted in zip(tensors.items(), needed, strict=True):
            if tensor is None or not wanted:
                grads.append(torch.empty(0, dtype=torch.float32, device="cpu"))
            else:
                grads.append(torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu"))
                self.point(**{f"grad_{name}": grads[-1]})
        return grads

    def run(self, kernel: str) -> None:
        """Raises BackendError without a library, MemoryError where its memory is short."""
        if _function(kernel)(ctypes.byref(self)):
            raise MemoryError(f"{kernel}: no memory for the kernel's own use")


def additive_forward(
    walk: Walk,
    options: Options,
    seed: Tensor | None,
    return_weights: bool,
    value: Tensor,
    score_src: Tensor,
    score_dst: Tensor | None,
    score_edge: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """out, stats and weights: see `Call.results`."""
    call = _begin(walk, options, seed, value)
    call.point(key=score_src, query=score_dst, edge=score_edge)
    results = call.results(value.dtype, return_weights)
    call.run("additive_forward")
    return results


def additive_backward(
    walk: Walk,
    options: Options,
    seed: Tensor | None,
    incoming: Incoming,
    needed: Sequence[bool],
    value: Tensor,
    score_src: Tensor,
    score_dst: Tensor | None,
    score_edge: Tensor | None,
) -> list[Tensor]:
    """Gradients in the inputs' order; empty for those not needed."""
    call = _begin(walk, options, seed, value, incoming)
    call.point(key=score_src, query=score_dst, edge=score_edge)
    grads = call.gradients(needed, value=value, key=score_src, query=score_dst, edge=score_edge)
    call.run("additive_backward")
    return grads


def gatv2_forward(
    walk: Walk,
    options: Options,
    seed: Tensor | None,
    return_weights: bool,
    key: Tensor,
    query: Tensor,
    att: Tensor,
    edge: Tensor | None,
    value: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """As `additive_forward`; without ``value`` the keys are the values."""
    call = _begin(walk, options, seed, key if value is None else value)
    _point_keys(call, key, query, edge, value is None)
    call.point(att=att)
    results = call.results(key.dtype, return_weights)
    call.run("gatv2_forward")
    return results


def gatv2_backward(
    walk: Walk,
    options: Options,
    seed: Tensor | None,
    incoming: Incoming,
    needed: Sequence[bool],
    key: Tensor,
    query: Tensor,
    att: Tensor,
    edge: Tensor | None,
    value: Tensor | None,
) -> list[Tensor]:
    """As `additive_backward`; where keys are the values, the key's gradient is of both."""
    call = _begin(walk, options, seed, key if value is None else value, incoming)
    _point_keys(call, key, query, edge, value is None)
    call.point(att=att)
    own = {"query": query, "att": att, "edge": edge}
    if value is None:
        grads = [*call.gradients(needed[:4], value=key, **own), torch.empty(0, device="cpu")]
    else:
        grads = call.gradients(needed, key=key, **own, value=value)
        if call.key == call.value and not needed[0]:
            # A value of its own in the key's memory: only a place of its own tells the kernel.
            call.point(grad_key=torch.empty_like(key))
    call.run("gatv2_backward")
    return grads


def dot_forward(
    walk: Walk,
    options: Options,
    seed: Tensor | None,
    return_weights: bool,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    edge_key: Tensor | None,
    edge_value: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """As `additive_forward`."""
    call = _begin(walk, options, seed, value)
    _point_keys(call, key, query, edge_key, False)
    call.point(edge_value=edge_value)
    results = call.results(value.dtype, return_weights)
    call.run("dot_forward")
    return results


def dot_backward(
    walk: Walk,
    options: Options,
    seed: Tensor | None,
    incoming: Incoming,
    needed: Sequence[bool],
    query: Tensor,
    key: Tensor,
    value: Tensor,
    edge_key: Tensor | None,
    edge_value: Tensor | None,
) -> list[Tensor]:
    """As `additive_backward`."""
    call = _begin(walk, options, seed, value, incoming)
    _point_keys(call, key, query, edge_key, False)
    call.point(edge_value=edge_value)
    edges = {"edge": edge_key, "edge_value": edge_value}
    grads = call.gradients(needed, query=query, key=key, value=value, **edges)
    call.run("dot_backward")
    return grads


def additive_scores_forward(
    walk: Walk,
    options: Options,
    score_src: Tensor,
    score_dst: Tensor | None,
    score_edge: Tensor | None,
) -> Tensor:
    """Scores [E, H]."""
    call = _begin(walk, options, None, score_src)
    call.point(key=score_src, query=score_dst, edge=score_edge)
    return call.step("additive_scores", score_src)


def additive_scores_backward(
    walk: Walk,
    options: Options,
    saved: Sequence[Tensor],
    needed: Sequence[bool],
    score_src: Tensor,
    score_dst: Tensor | None,
    score_edge: Tensor | None,
) -> list[Tensor]:
    """Gradients in the inputs' order, empty where not needed. saved: scores, their gradient."""
    call = _begin(walk, options, None, score_src)
    call.point(key=score_src, query=score_dst, edge=score_edge)
    call.point(per_edge=saved[0], grad_per_edge=saved[1])
    grads = call.gradients(needed, key=score_src, query=score_dst, edge=score_edge)
    call.run("additive_scores_backward")
    return grads


def gatv2_scores_forward(
    walk: Walk, options: Options, key: Tensor, query: Tensor, att: Tensor, edge: Tensor | None
) -> Tensor:
    call = _begin(walk, options, None, key)
    call.point(key=key, query=query, att=att, edge=edge)
    return call.step("gatv2_scores", key)


def gatv2_scores_backward(
    walk: Walk,
    options: Options,
    saved: Sequence[Tensor],
    needed: Sequence[bool],
    key: Tensor,
    query: Tensor,
    att: Tensor,
    edge: Tensor | None,
) -> list[Tensor]:
    call = _begin(walk, options, None, key)
    call.point(key=key, query=query, att=att, edge=edge)
    call.point(per_edge=saved[0], grad_per_edge=saved[1])
    grads = call.gradients(needed, key=key, query=query, att=att, edge=edge)
    call.run("gatv2_scores_backward")
    return grads


def dot_scores_forward(
    walk: Walk, options: Options, query: Tensor, key: Tensor, edge_key: Tensor | None
) -> Tensor:
    call = _begin(walk, options, None, key)
    call.point(key=key, query=query, edge=edge_key)
    return call.step("dot_scores", key)


def dot_scores_backward(
    walk: Walk,
    options: Options,
    saved: Sequence[Tensor],
    needed: Sequence[bool],
    query: Tensor,
    key: Tensor,
    edge_key: Tensor | None,
) -> list[Tensor]:
    call = _begin(walk, options, None, key)
    call.point(key=key, query=query, edge=edge_key)
    call.point(per_edge=saved[0], grad_per_edge=saved[1])
    grads = call.gradients(needed, query=query, key=key, edge=edge_key)
    call.run("dot_scores_backward")
    return grads


def segment_softmax_forward(walk: Walk, options: Options, scores: Tensor) -> Tensor:
    """Weights [E, H]."""
    call = _begin(walk, options, None, scores)
    weights = torch.empty_like(scores, memory_format=torch.contiguous_format)
    call.point(per_edge=scores, weights=weights)
    call.run("segment_softmax_forward")
    return weights


def segment_softmax_backward(
    walk: Walk,
    options: Options,
    saved: Sequence[Tensor],
    needed: Sequence[bool],
    scores: Tensor,
) -> list[Tensor]:
    call = _begin(walk, options, None, scores)
    call.point(weights=saved[0], grad_weights=saved[1])
    grads = call.gradients(needed, per_edge=scores)
    call.run("segment_softmax_backward")
    return grads


def segment_entmax_forward(walk: Walk, options: Options, scores: Tensor, alpha: Tensor) -> Tensor:
    """Weights [E, H]; float32 or float64, as alpha [H]."""
    call = _begin(walk, options, None, scores)
    weights = torch.empty_like(scores, memory_format=torch.contiguous_format)
    call.point(per_edge=scores, att=alpha, weights=weights)
    call.run("segment_entmax_forward")
    return weights


def segment_entmax_backward(
    walk: Walk,
    options: Options,
    saved: Sequence[Tensor],
    needed: Sequence[bool],
    scores: Tensor,
    alpha: Tensor,
) -> list[Tensor]:
    call = _begin(walk, options, None, scores)
    call.point(att=alpha, weights=saved[0], grad_weights=saved[1])
    grads = call.gradients(needed, per_edge=scores, att=alpha)
    call.run("segment_entmax_backward")
    return grads


def aggregate_forward(
    walk: Walk, options: Options, weights: Tensor, value: Tensor, edge_value: Tensor | None
) -> Tensor:
    """out [num_dst, H, C]."""
    call = _begin(walk, options, None, value)
    out = torch.empty((call.by_target.rows, *value.shape[1:]), dtype=value.dtype, device="cpu")
    call.point(per_edge=weights, edge_value=edge_value, out=out)
    call.run("aggregate_forward")
    return out


def aggregate_backward(
    walk: Walk,
    options: Options,
    saved: Sequence[Tensor],
    needed: Sequence[bool],
    weights: Tensor,
    value: Tensor,
    edge_value: Tensor | None,
) -> list[Tensor]:
    call = _begin(walk, options, None, value)
    call.point(per_edge=weights, edge_value=edge_value, grad_out=saved[1])
    grads = call.gradients(needed, per_edge=weights, value=value, edge_value=edge_value)
    call.run("aggregate_backward")
    return grads


def drop_entries(x: Tensor, seed: Tensor, p: float) -> Tensor:
    """Dropout of x, of any shape, by `gat.nn.dropout`'s definition."""
    out = torch.empty(x.shape, dtype=x.dtype, device="cpu")
    call = Call(dtype=CODES[x.dtype], threads=torch.get_num_threads())
    call.by_target.rows = x.numel()
    call.point(value=x, out=out)
    call.drop(seed, p)
    call.run("drop_entries")
    return out


def head_scores_forward(value: Tensor, *vectors: Tensor) -> list[Tensor]:
    """Scores [N, H] of value [N, H, C], for each of one or two vectors of H * C entries."""
    call = _of_nodes(value, vectors)
    scores = [torch.empty(value.shape[:2], dtype=value.dtype, device="cpu") for _ in vectors]
    call.point(**dict(zip(("out", "weights"), scores, strict=False)))
    call.run("head_scores_forward")
    return scores


def head_scores_backward(
    incoming: Sequence[Tensor], needed: Sequence[bool], value: Tensor, *vectors: Tensor
) -> list[Tensor]:
    """Gradients in the inputs' order, empty where not needed. incoming: those of the scores."""
    call = _of_nodes(value, vectors)
    call.point(**dict(zip(("grad_out", "grad_weights"), incoming, strict=False)))
    named = dict(zip(("key", "query"), vectors, strict=False))
    grads = call.gradients(needed, value=value, **named)
    call.run("head_scores_backward")
    return grads


def _begin(
    walk: Walk,
    options: Options,
    seed: Tensor | None,
    value: Tensor,
    incoming: Incoming | None = None,
) -> Call:
    """A call with what all operators have: the edges, the sizes, the numbers.

    ``value`` [num_src, H, C], or of a step without values [., H, C] or [., H].
    """
    channels = value.size(2) if value.dim() == 3 else 1
    call = Call(
        dtype=CODES[value.dtype],
        index=INDICES[walk.col.dtype],
        threads=torch.get_num_threads(),
        heads=value.size(1),
        key_channels=channels,
        value_channels=channels,
        activation=ACTIVATIONS[options.activation],
        slope=options.negative_slope,
        scale=options.scale,
        dropout_scale=1.0,
    )
    call.num_edges = walk.col.numel()
    call.by_target = _csr(walk.rowptr, walk.col, walk.number)
    if walk.source_rowptr is not None and walk.source_col is not None:
        call.by_source = _csr(walk.source_rowptr, walk.source_col, walk.source_number)
    call.point(value=value, transposed=walk.transposed)
    if seed is not None and options.dropout > 0:
        call.drop(seed, options.dropout)
    if incoming is not None:
        call.point(**incoming._asdict())
    return call


def _of_nodes(value: Tensor, vectors: Sequence[Tensor]) -> Call:
    """A call without edges: value [N, H, C] and the vectors its channels are multiplied with."""
    nodes, heads, channels = value.shape
    call = Call(dtype=CODES[value.dtype], threads=torch.get_num_threads(), heads=heads)
    call.key_channels = call.value_channels = channels
    call.by_target.rows = nodes
    call.point(value=value, **dict(zip(("key", "query"), vectors, strict=False)))
    return call


def _point_keys(call: Call, key: Tensor, query: Tensor, edge: Tensor | None, shared: bool) -> None:
    call.key_channels = key.size(2)
    call.point(query=query, edge=edge)
    # The same pointer tells the kernel that keys are the values.
    if shared:
        call.key = call.value
    else:
        call.point(key=key)


def _csr(rowptr: Tensor, col: Tensor, number: Tensor | None) -> Csr:
    pointer = None if number is None else number.data_ptr()
    return Csr(rowptr.numel() - 1, rowptr.data_ptr(), col.data_ptr(), pointer)


@functools.cache
def _function(kernel: str) -> Callable[..., int]:
    library = cpu.library()
    if library is None:
        raise BackendError(f"{kernel} needs the compiled library: {cpu.status()}")
    function = getattr(library, f"gat_cpu_{kernel}", None)
    if function is None:
        raise BackendError(
            f"the compiled library has no {kernel}: it was built from other sources. Build it "
            f"again: make compile, or pip install ."
        )
    function.argtypes, function.restype = [ctypes.c_void_p], ctypes.c_int
    return function
