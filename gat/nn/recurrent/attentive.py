"""Recurrent networks whose state before each step looks back, by attention, at all states so far.

The step t + 1 sees the states h_1 .. h_t as a graph of t sources and one target, which a
`gat.nn.Attend` weighs: one call a step, heard by `gat.record_attention` as ``attention``,
``attention#2`` and so on, where call t is of the step t + 1. A batch is more heads of that graph
(`gat.nn.batched`), which is why sequences are recorded one at a time.
"""

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gat import topology
from gat.checks import check_sizes, one_of
from gat.errors import InputError
from gat.nn.attend import Attend
from gat.nn.normalizers import Normalizer
from gat.nn.recurrent.conventions import Carry, Part, Recurrent
from gat.nn.scores import Score

__all__ = ["FORMS", "SelfAttentiveLSTM", "SelfAttentiveRNN"]

FORMS = ("replace", "input", "both")
# Projections of the states for attention: how many blocks of rows ``weight_att`` has.
PROJECTIONS = {"none": 0, "query_key": 2, "all": 3}


class SelfAttentiveRNN(Recurrent):
    """nn.RNN (tanh) with attention over its own states: the context of the states so far,

        c_t = sum over i <= t of a_ti h_i,   a_t = normalizer over i of score(h_t, h_i),

    stands in the place of h_t. By ``form``:

        "replace"   h_{t+1} = tanh(A [c_t; x_{t+1}] + b)
        "input"     h_{t+1} = tanh(A [x_{t+1}; c_t] + b)
        "both"      h_{t+1} = tanh(A [h_t; x_{t+1}; c_t] + b)

    "replace" has nn.RNN's parameters, weight_hh being the columns of c_t; in "input" and "both"
    they are the last columns of weight_ih, and "input" has no weight_hh: it is "replace" under
    other names. (Cheng et al. 2016, "Long Short-Term Memory-Networks for Machine Reading", section
    3.1, have this look back in an LSTM.)

    score, normalizer: as in `gat.nn.Attend`, each layer and direction with its own (copies of an
    object); heads: the state is split among them.
    projections: "none", queries, keys and values are the states themselves; "query_key", the first
    two are projected, once for each new state; "all", values too. attention_dropout: on the
    weights. The rest as in `Recurrent`.

    An initial state is what the first step sees as context, and nothing looks back at it later:
    the state that is returned is nn.RNN's, h_T alone, and does not hold what came before.
    Memory grows with the square of the steps: T^2 / 2 states for each sequence.
    """

    def __init__(
        self,
        *args: Any,
        form: str = "replace",
        score: str | Score = "scaled_dot",
        normalizer: str | Normalizer = "softmax",
        heads: int = 1,
        projections: str = "none",
        attention_dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        # Asked for while the weights are made.
        self.form = one_of("form", form, FORMS)
        self.projections = one_of("projections", projections, tuple(PROJECTIONS))
        super().__init__(*args, **kwargs)
        check_sizes(heads=heads)
        if self.hidden_size % heads:
            raise InputError(
                f"hidden_size is {self.hidden_size} and heads is {heads}; expected a size that "
                f"heads divide"
            )
        self.heads = heads
        channels = self.hidden_size // heads
        for place in self.places:
            # An object serves one layer.
            parts = copy.deepcopy((score, normalizer))
            attend = Attend(channels, heads, *parts, attention_dropout)
            if attend.normalizer.goes_on:
                raise InputError(
                    f"{type(attend.normalizer).__name__} goes on from the weights of the step "
                    f"before, over the same sources; here each step has a source more: take "
                    f"another normalizer"
                )
            self.add_module(self._attention(*place), attend.to(self.weight_ih_l0))

    def _attention(self, layer: int, direction: int) -> str:
        """The name of a layer's Attend."""
        return "attention" + ("" if (layer, direction) == (0, 0) else self.suffix(layer, direction))

    def weight_shapes(self, width: int) -> dict[str, tuple[int, ...]]:
        size = self.hidden_size
        shapes = super().weight_shapes(width if self.form == "replace" else width + size)
        if self.form == "input":
            del shapes["weight_hh"]
        if self.projections != "none":
            shapes["weight_att"] = (PROJECTIONS[self.projections] * size, size)
        return shapes

    def part(self, layer: int, direction: int) -> Part:
        part = super().part(layer, direction)
        part.attention = getattr(self, self._attention(layer, direction))
        if self.form == "replace":
            part.context, part.recurrent = part.recurrent, None
        else:
            width = part.weight_ih.size(1) - self.hidden_size
            part.context = part.weight_ih[:, width:].t()
            part.weight_ih = part.weight_ih[:, :width]
        return part

    def begin(self, state: Carry) -> Carry:
        """The states, then those to look back at, as keys and, if they are others, as values: none
        yet, [0, b, hidden_size] each."""
        none = state[0].new_empty((0, *state[0].shape))
        return (*state, none) if self.projections == "none" else (*state, none, none)

    def step(self, x: Tensor, carry: Carry, part: Part) -> Carry:
        state, memory = carry[: self.states], carry[self.states :]
        gates = torch.addmm(x, self._context(state[0], memory, part), part.context)
        if part.recurrent is not None:
            gates = torch.addmm(gates, state[0], part.recurrent)
        state = self.cell(gates, state)
        return (*state, *self._remembered(memory, state[0], part))

    def cell(self, gates: Tensor, state: Carry) -> Carry:
        """The new states, of the gates [b, gates * hidden_size] and the states before."""
        return (torch.tanh(gates),)

    def _context(self, h: Tensor, memory: Carry, part: Part) -> Tensor:
        """c_t [b, hidden_size], of h_t and the states so far."""
        count, batch = memory[0].size(0), h.size(0)
        if count == 0 or batch == 0:
            return h
        if self.projections != "none":
            h = F.linear(h, part.weight_att[: self.hidden_size])
        query, key, value = (self._nodes(one) for one in (h.unsqueeze(0), memory[0], memory[-1]))
        graph = topology.bipartite(count, 1, device=h.device)
        return part.attention(query, key, value, graph).reshape(batch, self.hidden_size)

    def _nodes(self, states: Tensor) -> Tensor:
        """States [n, b, hidden_size] as nodes [b, n, heads, C], of one sequence [n, heads, C]."""
        split = states.unflatten(-1, (self.heads, -1))
        return split.squeeze(1) if states.size(1) == 1 else split.transpose(0, 1)

    def _remembered(self, memory: Carry, h: Tensor, part: Part) -> Carry:
        """The memory with a new state h [b, hidden_size]."""
        new: Carry = (h,)
        if self.projections != "none":
            new = F.linear(h, part.weight_att[self.hidden_size :]).split(self.hidden_size, dim=-1)
        new = (*new, h) if self.projections == "query_key" else new
        # Joined one by one: of a stack each step would make a gradient for every state before it.
        pairs = zip(memory, new, strict=True)
        return tuple(torch.cat([before, one.unsqueeze(0)]) for before, one in pairs)

    def reset_parameters(self) -> None:
        super().reset_parameters()
        for attend in self.children():
            if isinstance(attend, Attend):
                attend.reset_parameters()

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, form={self.form!r}, projections={self.projections!r}"


class SelfAttentiveLSTM(SelfAttentiveRNN):
    """nn.LSTM with attention over its own states: `SelfAttentiveRNN` with the gates i, f, g, o of
    torch's, which see the context c_t as the form has it; the cell state goes on from step to step
    as ever."""

    gates = 4
    states = 2

    def cell(self, gates: Tensor, state: Carry) -> Carry:
        let_in, keep, new, show = gates.chunk(4, dim=-1)
        cell = torch.sigmoid(keep) * state[1] + torch.sigmoid(let_in) * torch.tanh(new)
        return torch.sigmoid(show) * torch.tanh(cell), cell
