"""Cells that take the place of `torch.nn.LSTM`: fewer gates, or none, and longer memory.

Both take and return nn.LSTM's pair of states, (h, c), though of each cell c is h: ``out, (h, c) =
rnn(x)`` stays as it was.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from gat.checks import one_of
from gat.errors import InputError
from gat.nn.recurrent.conventions import Carry, Part, Recurrent

__all__ = ["JANET", "IndRNN"]


class JANET(Recurrent):
    """An LSTM with its forget gate alone (van der Westhuizen and Lasenby 2018, "The unreasonable
    effectiveness of the forget gate", eq. 4-6):

        s_t = W_f x_t + U_f h_{t-1} + b_f;   c~_t = tanh(W_c x_t + U_c h_{t-1} + b_c)
        c_t = sigmoid(s_t) c_{t-1} + (1 - sigmoid(s_t - beta)) c~_t;   h_t = c_t

    beta: how much more is let in than is forgotten; 1 as in the paper's best version, 0 ties the
    two. chrono: the most steps T over which something is to be remembered; the biases of the forget
    gate then start at log(u), u ~ U(1, T - 1), and the others at 0 (Tallec and Ollivier 2018, "Can
    recurrent neural networks warp time?", eq. 16). The rest as in `Recurrent`; of the weights' rows
    the first half is the forget gate's, the second the candidate's.

    We differ from the paper in what the weights start at: as torch.nn.LSTM's do.
    """

    gates = 2
    states = 2

    def __init__(
        self, *args: Any, beta: float = 1.0, chrono: int | None = None, **kwargs: Any
    ) -> None:
        check_memory("chrono", chrono, 3)
        # Asked for while the weights are drawn.
        self.beta, self.chrono = beta, chrono
        super().__init__(*args, **kwargs)
        if chrono is not None and not self.bias:
            raise InputError(f"chrono={chrono} is of biases, and bias is False; leave out one")

    def step(self, x: Tensor, carry: Carry, part: Part) -> Carry:
        h, c = carry
        gate, candidate = torch.addmm(x, h, part.recurrent).chunk(2, dim=-1)
        # 1 - sigmoid(s - beta) = sigmoid(beta - s)
        let_in = torch.sigmoid(self.beta - gate)
        c = torch.sigmoid(gate) * c + let_in * torch.tanh(candidate)
        return c, c

    def reset_parameters(self) -> None:
        super().reset_parameters()
        if self.chrono is None or not self.bias:
            return
        for place in self.places:
            part = self.part(*place)
            nn.init.zeros_(part.bias_hh)
            nn.init.zeros_(part.bias_ih)
            with torch.no_grad():
                part.bias_ih[: self.hidden_size].uniform_(1, self.chrono - 1).log_()

    def extra_repr(self) -> str:
        chrono = "" if self.chrono is None else f", chrono={self.chrono}"
        return f"{super().extra_repr()}, beta={self.beta}{chrono}"


class IndRNN(Recurrent):
    """Units that each see their own state alone (Li et al. 2018, "Independently Recurrent Neural
    Network (IndRNN)", eq. 2): h_t = act(W x_t + u * h_{t-1} + b), the layers above join them.

    nonlinearity: "relu" or "tanh". form: "project", the inputs of all steps by one matrix product
    before the first, or "step", each at its step, so that they never stand projected all at once;
    the results are equal. The rest as in `Recurrent`; ``weight_hh_lk`` is u [hidden_size], drawn
    from U(0, 1). Of the states (h, c), c is returned as h and takes no part when it is given.

    long_memory: steps T over which to remember. The u of the last layer are then drawn from
    U(2^(-1/T), 2^(1/T)), so that T steps multiply what a unit holds by 1/2 to 2, those of other
    layers from U(0, 2^(1/T)) (section 3.1, with 2 for gamma and 1/2 for epsilon). In the forward
    pass no u counts for more than 2^(1/T) in magnitude; one beyond has no gradient and stays
    there.
    """

    states = 2

    def __init__(
        self,
        *args: Any,
        nonlinearity: str = "relu",
        form: str = "project",
        long_memory: int | None = None,
        **kwargs: Any,
    ) -> None:
        one_of("form", form, ("project", "step"))
        check_memory("long_memory", long_memory, 1)
        # Asked for while the weights are made.
        self.form, self.long_memory = form, long_memory
        self.nonlinearity = one_of("nonlinearity", nonlinearity, ("relu", "tanh"))
        self.projects_first = form == "project"
        super().__init__(*args, **kwargs)

    @property
    def bound(self) -> float:
        """What no recurrent weight is larger than, in magnitude."""
        return math.inf if self.long_memory is None else 2 ** (1 / self.long_memory)

    def weight_shapes(self, width: int) -> dict[str, tuple[int, ...]]:
        return super().weight_shapes(width) | {"weight_hh": (self.hidden_size,)}

    def part(self, layer: int, direction: int) -> Part:
        part = super().part(layer, direction)
        part.recurrent = part.weight_hh
        if self.long_memory is not None:
            part.recurrent = part.recurrent.clamp(-self.bound, self.bound)
        return part

    def step(self, x: Tensor, carry: Carry, part: Part) -> Carry:
        out = torch.addcmul(x, part.recurrent, carry[0])
        h = torch.relu(out) if self.nonlinearity == "relu" else torch.tanh(out)
        return h, h

    def reset_parameters(self) -> None:
        super().reset_parameters()
        for place in self.places:
            # Without a length in mind as for endless ones, of which both bounds are 1.
            high = 1.0 if self.long_memory is None else self.bound
            remembers = place[0] == self.num_layers - 1 and self.long_memory is not None
            nn.init.uniform_(self.part(*place).weight_hh, 1 / high if remembers else 0.0, high)

    def extra_repr(self) -> str:
        memory = "" if self.long_memory is None else f", long_memory={self.long_memory}"
        own = f"nonlinearity={self.nonlinearity!r}, form={self.form!r}"
        return f"{super().extra_repr()}, {own}{memory}"


def check_memory(name: str, steps: int | None, least: int) -> None:
    """Refuse fewer steps to remember over than ``least``."""
    if steps is not None and steps < least:
        raise InputError(f"{name} is {steps}; expected {least} steps or more, or None")
