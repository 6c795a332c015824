"""What `torch.nn.LSTM` promises of its constructor and its call, for cells of any kind.

A cell of your own is one class: derive from `Recurrent`, say how many blocks of rows its weights
have and how many states it carries, and give one step. Layers, directions, dropout between layers,
layouts, packed sequences and initial states are here.
"""

import inspect
import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable
from itertools import product
from typing import TYPE_CHECKING, Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from gat.checks import check_sizes, one_of
from gat.errors import InputError
from gat.nn.recurrent.layouts import State, rows_of
from gat.nn.recurrent.steps import Steps
from gat.ops.dropout import check_probability

__all__ = ["Carry", "Part", "Recurrent"]

# What goes from step to step: the states [b, H] first, then what else a cell keeps [..., b, .].
Carry = tuple[Tensor, ...]


class Part:
    """What one layer in one direction computes with, by name."""

    # torch.compile cannot trace types.SimpleNamespace.

    def __init__(self, **named: Any) -> None:
        for name, each in named.items():
            setattr(self, name, each)

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

        def __setattr__(self, name: str, each: Any) -> None: ...


class Recurrent(nn.Module, ABC):
    """A recurrent network of one kind of cell under the conventions of torch's own.

    input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, device, dtype:
    as in `torch.nn.LSTM`, in its order; proj_size is there for that order and must be 0.

    Parameters are named and laid out as torch's: for layer k ``weight_ih_lk`` [gates * hidden_size,
    .], ``weight_hh_lk``, ``bias_ih_lk``, ``bias_hh_lk`` [gates * hidden_size], of the second
    direction with ``_reverse``; drawn from U(-1 / sqrt(hidden_size), 1 / sqrt(hidden_size)).
    """

    # Blocks of hidden_size rows in the weights, and how many states go from step to step: with one
    # a state is a tensor, as nn.RNN's and nn.GRU's; with two a pair, as nn.LSTM's.
    gates: ClassVar[int] = 1
    states: ClassVar[int] = 1
    # Whether the inputs of all steps are projected before the first, by one matrix product.
    projects_first: bool = True

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # ``help()`` shows the parameters of the conventions, then those of the cell.
        common = inspect.signature(Recurrent.__init__).parameters
        made = [vars(one)["__init__"] for one in reversed(cls.__mro__) if "__init__" in vars(one)]
        given = [p for each in made for p in inspect.signature(each).parameters.values()]
        own = {p.name: p for p in given if p.kind is p.KEYWORD_ONLY}
        cls.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [*list(common.values())[1:], *own.values()]
        )

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_sizes(input_size=input_size, hidden_size=hidden_size, num_layers=num_layers)
        # nn.RNN has its nonlinearity where nn.LSTM has ``bias``.
        flags = {"bias": bias, "batch_first": batch_first, "bidirectional": bidirectional}
        for name, flag in flags.items():
            one_of(name, flag, (True, False))
        check_probability("dropout", dropout)
        if proj_size != 0:
            raise InputError(
                f"proj_size is {proj_size}; {type(self).__name__} has no projection of its state: "
                f"leave it 0"
            )
        if dropout > 0 and num_layers == 1:
            warnings.warn(
                f"dropout={dropout} is between layers, and num_layers is 1: nothing is dropped",
                stacklevel=2,
            )
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.dropout = bias, batch_first, float(dropout)
        self.bidirectional = bidirectional
        for layer, direction in self.places:
            width = input_size if layer == 0 else hidden_size * self.num_directions
            for name, shape in self.weight_shapes(width).items():
                weight = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
                self.register_parameter(name + self.suffix(layer, direction), weight)
        self.reset_parameters()

    @property
    def num_directions(self) -> int:
        return 2 if self.bidirectional else 1

    @property
    def places(self) -> list[tuple[int, int]]:
        """Layers and directions in the order of the states: (layer, 0 or 1)."""
        return list(product(range(self.num_layers), range(self.num_directions)))

    @property
    def all_weights(self) -> list[list[nn.Parameter]]:
        """The weights of each layer and direction, as torch's recurrent modules list them."""
        names = self.weight_shapes(self.input_size)
        return [[getattr(self, n + self.suffix(*place)) for n in names] for place in self.places]

    @staticmethod
    def suffix(layer: int, direction: int) -> str:
        """How the names of a layer's weights end, those of the second direction too."""
        return f"_l{layer}_reverse" if direction else f"_l{layer}"

    def weight_shapes(self, width: int) -> dict[str, tuple[int, ...]]:
        """The weights of one layer and direction, whose input has ``width`` features."""
        rows = self.gates * self.hidden_size
        shapes: dict[str, tuple[int, ...]] = {"weight_ih": (rows, width)}
        shapes["weight_hh"] = (rows, self.hidden_size)
        return shapes | ({"bias_ih": (rows,), "bias_hh": (rows,)} if self.bias else {})

    def part(self, layer: int, direction: int) -> Part:
        """What one layer and direction computes with: its weights by their short names, and
        ``bias``, both together, or None."""
        end, names = self.suffix(layer, direction), self.weight_shapes(self.input_size)
        part = Part(**{name: getattr(self, name + end) for name in names})
        part.bias = part.bias_ih + part.bias_hh if self.bias else None
        # Turned once a run: each step adds to one gradient.
        part.recurrent = part.weight_hh.t() if "weight_hh" in names else None
        return part

    def project(self, x: Tensor, part: Part) -> Tensor:
        """What the inputs [rows, .] of any steps add to the gates [rows, gates * hidden_size]."""
        return F.linear(x, part.weight_ih, part.bias)

    def begin(self, state: Carry) -> Carry:
        """What the first step is handed, of the initial states [b, hidden_size]."""
        return state

    @abstractmethod
    def step(self, x: Tensor, carry: Carry, part: Part) -> Carry:
        """One step: x [b, gates * hidden_size] as `project` gives it and what the step before gave,
        to the new states [b, hidden_size], the output first, and what else is kept."""

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        bound = 1 / math.sqrt(self.hidden_size)
        for weight in self.parameters(recurse=False):
            nn.init.uniform_(weight, -bound, bound)

    def flatten_parameters(self) -> None:
        """Nothing: torch's modules rearrange their weights for cuDNN here."""

    def forward(
        self, input: Tensor | PackedSequence, hx: State | None = None
    ) -> tuple[Tensor | PackedSequence, State]:
        """Run over sequences.

        input: [T, B, input_size], [B, T, input_size] with ``batch_first``, [T, input_size] of one
        sequence, or a PackedSequence. hx: the initial state [num_layers * directions, B,
        hidden_size], without B of one sequence, a pair of such with two states; None: zeros.

        Returns (output, state): the outputs of the last layer, laid out as the input with
        hidden_size * directions features, and each layer's state after its last step, laid out as
        hx. Raises InputError or ArgumentTypeError naming the argument.
        """
        data, layout = rows_of(self, input)
        out, states = self._layers(data, layout.steps, layout.initial(self, hx, data))
        return layout.output(out), layout.state(states)

    def _layers(self, data: Tensor, steps: Steps, state: Carry) -> tuple[Tensor, Carry]:
        """All layers over rows [S, .]; states [num_layers * directions, B, hidden_size] each."""
        finals = []
        for layer in range(self.num_layers):
            outputs = []
            for direction in range(self.num_directions):
                place = layer * self.num_directions + direction
                part = self.part(layer, direction)
                own = tuple(one[place] for one in state)
                rows = data.index_select(0, steps.from_end) if direction else data
                out, final = self._run(rows, steps, own, part)
                outputs.append(out.index_select(0, steps.from_end) if direction else out)
                finals.append(final)
            data = torch.cat(outputs, dim=-1) if self.bidirectional else outputs[0]
            if layer + 1 < self.num_layers:
                data = F.dropout(data, self.dropout, self.training)
        return data, tuple(torch.stack(one) for one in zip(*finals, strict=True))

    def _run(self, data: Tensor, steps: Steps, state: Carry, part: Part) -> tuple[Tensor, Carry]:
        """One layer in one direction: outputs [S, hidden_size], and the states [B, hidden_size]
        after the last step of each sequence."""
        outputs, ended, carry = [], [], self.begin(state)
        for x in self._inputs(data, steps.sizes, part):
            going = x.size(0)
            if going < carry[0].size(0):
                ended.append(tuple(one[going:] for one in carry[: self.states]))
                carry = tuple(one.narrow(-2, 0, going) for one in carry)
            carry = self.step(x, carry, part)
            outputs.append(carry[0])
        ended.append(carry[: self.states])
        finals = (torch.cat(one) for one in zip(*reversed(ended), strict=True))
        return torch.cat(outputs), tuple(finals)

    def _inputs(self, data: Tensor, sizes: tuple[int, ...], part: Part) -> Iterable[Tensor]:
        if self.projects_first:
            return self.project(data, part).split(sizes)
        return (self.project(x, part) for x in data.split(sizes))

    def extra_repr(self) -> str:
        """As torch's: the sizes, and what differs from the defaults."""
        named = {"num_layers": 1, "bias": True, "batch_first": False, "dropout": 0.0}
        named["bidirectional"] = False
        own = vars(self)
        changed = [f"{name}={own[name]}" for name, usual in named.items() if own[name] != usual]
        return ", ".join([str(self.input_size), str(self.hidden_size), *changed])
