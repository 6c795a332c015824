"""What the public operators ask of their arguments: shapes, floating dtypes, devices, the seed.

An operator's first tensor, the lead, tells heads and channels; the others must fit it and the
graph. Shapes: N nodes, E edges in listed order, H heads, C channels per head.
"""

import torch
from torch import Tensor, nn

from gat.errors import ArgumentTypeError, InputError
from gat.graph import Graph
from gat.ops.dropout import check_probability, draw_seed

__all__ = ["Fit", "check_activation", "settle_alpha", "settle_scale", "settle_seed"]

ABOVE_ONE = "expected numbers above 1 in the scores' dtype: the limit 1 is segment_softmax"
ROWS = {"num_src": "num_src", "num_dst": "num_dst", "E": "num_edges"}


class Fit:
    """What must fit ``tensor``, the lead, of the shape that ``form`` spells: "num_src, H, C".

    Raises InputError or ArgumentTypeError naming the argument if the lead itself does not fit the
    graph. ``sizes`` are the lead's sizes after the first: (heads, channels) or (heads,).
    """

    def __init__(self, graph: Graph, name: str, tensor: Tensor, form: str) -> None:
        self.name, self.tensor = name, tensor
        rows, *rest = form.split(", ")
        count = getattr(graph, ROWS[rows])
        if tensor.dim() != 1 + len(rest):
            words = ", ".join([str(count), "heads", "channels"][: 1 + len(rest)])
            raise InputError(
                f"{name} has shape {list(tensor.shape)}; expected [{form}] = [{words}]"
            )
        if not tensor.is_floating_point():
            raise ArgumentTypeError(f"{name} has dtype {tensor.dtype}; expected a floating dtype")
        self.sizes: tuple[int, ...] = tuple(tensor.shape[1:])
        self.check(name, tensor, (count, *self.sizes))
        if graph.device != tensor.device:
            raise InputError(
                f"the graph is on {graph.device}, {name} on {tensor.device}; move one: "
                f"graph.to({str(tensor.device)!r})"
            )

    def check(self, name: str, tensor: Tensor | None, shape: tuple[int, ...]) -> None:
        """Refuse an argument of another shape or device than the lead asks for, or of integers."""
        if tensor is None:
            return
        if tensor.shape != shape:
            raise InputError(
                f"{name} has shape {list(tensor.shape)}; expected {list(shape)} for this graph and "
                f"{self.name} of shape {list(self.tensor.shape)}"
            )
        if tensor.device != self.tensor.device:
            raise InputError(
                f"{name} is on {tensor.device}, {self.name} on {self.tensor.device}; move one of "
                f"them"
            )
        if not tensor.is_floating_point():
            raise ArgumentTypeError(f"{name} has dtype {tensor.dtype}; expected a floating dtype")


def check_activation(activation: str) -> None:
    if activation not in ("leaky_relu", "tanh"):
        raise InputError(f"activation is {activation!r}; expected 'leaky_relu' or 'tanh'")


def settle_scale(scale: float | None, channels: int) -> float:
    """The scale of a dot product: as given, or 1 / sqrt(C)."""
    return max(channels, 1) ** -0.5 if scale is None else scale


def settle_alpha(alpha: float | Tensor, fit: Fit) -> Tensor:
    """Entmax's alpha for each head, [H], in the dtype that scores such as ``fit.tensor`` are
    computed in; InputError where it is not above 1."""
    scores, heads = fit.tensor, fit.sizes[0]
    dtype = torch.float64 if scores.dtype is torch.float64 else torch.float32
    if not isinstance(alpha, Tensor):
        if not isinstance(alpha, int | float):
            raise ArgumentTypeError(f"alpha is {alpha!r}; expected a number or a tensor")
        if not 1 < alpha < float("inf"):
            raise InputError(f"alpha is {alpha}; {ABOVE_ONE}")
        return torch.full((heads,), alpha, dtype=dtype, device=scores.device)
    if alpha.dim() == 0:
        alpha = alpha.expand(heads)
    fit.check("alpha", alpha, (heads,))
    alpha = alpha.to(dtype)
    if _is_readable(alpha) and not ((alpha > 1) & (alpha < torch.inf)).all():
        raise InputError(f"alpha is {alpha.tolist()}; {ABOVE_ONE}")
    return alpha


def _is_readable(tensor: Tensor) -> bool:
    """Whether its numbers can be looked at, without making a GPU wait."""
    return (
        tensor.device.type == "cpu"
        and type(tensor) in (Tensor, nn.Parameter)
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()
        and torch._C._len_torch_dispatch_stack() == 0
        and torch._C._functorch.peek_interpreter_stack() is None
    )


def settle_seed(dropout: float, seed: Tensor | int | None, device: torch.device) -> Tensor | None:
    """The seed as an int64 scalar tensor, drawn if not given; None without dropout."""
    check_probability("dropout", dropout)
    if dropout == 0:
        return None
    if seed is None:
        return draw_seed(device)
    if isinstance(seed, int):
        # Compiled for any number, as_tensor keeps 32 bits of it (torch 2.13).
        return torch.full((), seed, dtype=torch.int64, device=device)
    seed = torch.as_tensor(seed, device=device)
    if seed.dtype is not torch.int64 or seed.dim() != 0:
        raise InputError(
            f"seed has dtype {seed.dtype} and shape {list(seed.shape)}; expected one int64 number"
        )
    return seed
