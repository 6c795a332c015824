"""The arguments of `faithfulness`, checked and settled."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.nn import MessagePassing

from gat.checks import check_sizes
from gat.errors import ArgumentTypeError, IndexRangeError, InputError

__all__ = [
    "check_numbers",
    "flow_of",
    "read_classes",
    "read_fractions",
    "read_hops",
    "read_nodes",
    "read_top_k",
]


def flow_of(model: nn.Module) -> str:
    """The direction of the model's messages, one for all its layers."""
    flows = {module.flow for module in model.modules() if isinstance(module, MessagePassing)}
    if len(flows) > 1:
        raise InputError(
            "the model's layers pass messages in both directions (flow); expected one flow, since "
            "a node's neighbourhood is followed back along it"
        )
    return flows.pop() if flows else "source_to_target"


def read_nodes(nodes: int | Sequence[int] | Tensor, count: int) -> list[int]:
    """Node numbers, of numbers or of a bool mask [N]; each once, each in range."""
    given = torch.as_tensor(nodes).reshape(-1)
    if given.dtype == torch.bool:
        if given.numel() != count:
            raise InputError(f"nodes is a mask of {given.numel()}; expected one of {count} nodes")
        given = given.nonzero().squeeze(1)
    if given.is_floating_point() and given.numel():
        raise ArgumentTypeError(f"nodes is of {given.dtype}; expected node numbers or a bool mask")
    chosen: list[int] = given.long().tolist()
    for node in chosen:
        if not 0 <= node < count:
            raise IndexRangeError(f"nodes has {node}; expected nodes in [0, {count})")
    if len(set(chosen)) < len(chosen):
        twice = next(node for node in chosen if chosen.count(node) > 1)
        raise InputError(f"nodes has {twice} more than once; it would count twice in the intervals")
    return chosen


def read_fractions(fractions: Iterable[float]) -> Tensor:
    """float64 [K], ascending from 0 to 1 at most."""
    given = torch.as_tensor(list(fractions), dtype=torch.float64)
    inside = bool(((given >= 0) & (given <= 1)).all())
    if given.numel() < 2 or not inside or not bool((given.diff() > 0).all()):
        raise InputError(
            f"fractions is {[round(one, 6) for one in given.tolist()]}; expected two or more "
            f"ascending numbers in [0, 1], such as 0, 0.1, ..., 1"
        )
    return given


def read_top_k(top_k: Iterable[int]) -> Tensor:
    """int64 [k], each once."""
    given = list(top_k)
    if any(not isinstance(k, int) or k < 1 for k in given) or len(set(given)) < len(given):
        raise InputError(f"top_k is {given}; expected numbers of edges of 1 or more, each once")
    return torch.tensor(given, dtype=torch.int64)


def read_classes(target: Tensor | None, out: Tensor, nodes: list[int]) -> Tensor:
    """The class of each of ``nodes``: the given one, or the one with the highest output."""
    if target is None:
        return out[nodes].argmax(-1)
    if not isinstance(target, Tensor) or target.is_floating_point():
        kind = target.dtype if isinstance(target, Tensor) else type(target).__name__
        raise ArgumentTypeError(f"target is a {kind}; expected int64 [{out.size(0)}], a class each")
    if target.shape != out.shape[:1]:
        raise InputError(
            f"target is {list(target.shape)}; expected [{out.size(0)}], a class for each node of "
            f"the graph"
        )
    classes = target[nodes]
    wrong = classes[(classes < 0) | (classes >= out.size(1))]
    if wrong.numel():
        raise IndexRangeError(
            f"target has class {int(wrong[0])}; expected classes in [0, {out.size(1)})"
        )
    return classes


def read_hops(hops: int | None, rounds: int) -> int:
    """Rounds of message passing: as given, or as counted."""
    if hops is None and not rounds:
        raise InputError(
            "the model called no message passing layer of PyG's kind; pass hops=, how many steps "
            "away a node's prediction looks"
        )
    if hops is not None and hops < 1:
        raise InputError(f"hops is {hops}; expected 1 or more, or None to count the layers")
    return rounds if hops is None else hops


def check_numbers(confidence: float, **counts: Any) -> None:
    """Refuse counts below 1 and a confidence outside (0, 1)."""
    check_sizes(**counts)
    if not 0 < confidence < 1:
        raise InputError(f"confidence is {confidence}; expected a share in (0, 1), such as 0.95")
