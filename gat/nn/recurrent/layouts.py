"""How sequences lie that a recurrent module is given, and what it returns in the same layout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from gat.errors import ArgumentTypeError, InputError
from gat.nn.recurrent.steps import Steps

if TYPE_CHECKING:
    from gat.nn.recurrent.conventions import Recurrent

__all__ = ["Layout", "State", "rows_of"]

State = Tensor | tuple[Tensor, ...]


@dataclass(frozen=True)
class Layout:
    """The layout of one call. packed: the sequences, if they came packed; batched: whether there
    may be several; batch_first: whether batches come before steps."""

    steps: Steps
    packed: PackedSequence | None
    batched: bool
    batch_first: bool

    def initial(self, module: Recurrent, hx: Any, data: Tensor) -> tuple[Tensor, ...]:
        """The initial states [num_layers * directions, B, hidden_size], longest sequence first; hx
        as `Recurrent.forward` takes it, zeros of data's dtype for None."""
        count, batch = module.num_layers * module.num_directions, self.steps.sizes[0]
        shape = (count, batch, module.hidden_size)
        if hx is None:
            return (data.new_zeros(shape),) * module.states
        given = (hx,) if isinstance(hx, Tensor) else hx
        expected = list(shape) if self.batched else [count, module.hidden_size]
        if (
            not isinstance(given, tuple | list)
            or [list(s.shape) for s in given] != [expected] * module.states
        ):
            one = "one tensor" if module.states == 1 else f"a tuple of {module.states} tensors"
            raise InputError(
                f"{type(module).__name__}: hx is {_shown(hx)}; expected {one} of shape {expected}"
            )
        if not self.batched:
            return tuple(state.unsqueeze(1) for state in given)
        return self._ordered(tuple(given), "sorted_indices")

    def output(self, rows: Tensor) -> Tensor | PackedSequence:
        """Rows of steps [S, .] as the input lay."""
        if self.packed is not None:
            return self.packed._replace(data=rows)
        if not self.batched:
            return rows
        out = rows.unflatten(0, (len(self.steps.sizes), self.steps.sizes[0]))
        return out.transpose(0, 1) if self.batch_first else out

    def state(self, states: tuple[Tensor, ...]) -> State:
        """States [num_layers * directions, B, hidden_size] in the caller's order."""
        states = self._ordered(states, "unsorted_indices")
        if not self.batched:
            states = tuple(state.squeeze(1) for state in states)
        return states if len(states) > 1 else states[0]

    def _ordered(self, states: tuple[Tensor, ...], by: str) -> tuple[Tensor, ...]:
        index = getattr(self.packed, by, None)
        if index is None:
            return states
        return tuple(state.index_select(1, index) for state in states)


def rows_of(module: Recurrent, given: Any) -> tuple[Tensor, Layout]:
    """The input of a recurrent module as rows of steps [S, input_size], checked, and its layout."""
    name = type(module).__name__
    packed = given if isinstance(given, PackedSequence) else None
    data = given if packed is None else packed.data
    if not isinstance(data, Tensor):
        raise ArgumentTypeError(
            f"{name}: input is of type {type(data).__name__}; expected a tensor or a "
            f"torch.nn.utils.rnn.PackedSequence"
        )
    weight = module.weight_ih_l0
    if data.dtype != weight.dtype and not torch.is_autocast_enabled(data.device.type):
        raise ArgumentTypeError(
            f"{name}: input has dtype {data.dtype} and the weights {weight.dtype}; convert one of "
            f"the two"
        )
    dims = (2, 3) if packed is None else (2,)
    if data.dim() not in dims or data.size(-1) != module.input_size:
        axes = "B, T" if module.batch_first else "T, B"
        raise InputError(
            f"{name}: input has shape {list(data.shape)}; expected [{axes}, {module.input_size}], "
            f"or [T, {module.input_size}] of one sequence"
        )
    batched = packed is not None or data.dim() == 3
    if packed is not None:
        sizes = tuple(packed.batch_sizes.tolist())
    else:
        data = data if batched else data.unsqueeze(1)
        data = data.transpose(0, 1) if batched and module.batch_first else data
        sizes = (data.size(1),) * data.size(0)
        data = data.flatten(0, 1)
    if not sizes:
        raise InputError(f"{name}: input has shape {list(given.shape)}, no steps; expected one")
    return data, Layout(Steps(sizes, data.device), packed, batched, module.batch_first)


def _shown(hx: Any) -> str:
    if isinstance(hx, Tensor):
        return f"a tensor of shape {list(hx.shape)}"
    if not isinstance(hx, tuple | list):
        return f"of type {type(hx).__name__}"
    return f"a tuple of shapes {[list(one.shape) for one in hx]}"
