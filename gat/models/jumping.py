"""Jumping knowledge: what all layers say of a node, put together (Xu et al. 2018, "Representation
Learning on Graphs with Jumping Knowledge Networks", section 4)."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch_geometric.nn import JumpingKnowledge

from gat import topology
from gat.checks import one_of
from gat.errors import InputError
from gat.models.parts import reset_children
from gat.nn import Attend
from gat.nn.recurrent import CELLS

__all__ = ["JUMPS", "AttentiveJump", "make_jump"]

# PyG's own; of the rest "attention" has no cell.
PYGS = ("cat", "max", "lstm")
JUMPS = ("none", *PYGS, *(cell for cell in CELLS if cell != "lstm"), "attention")


class AttentiveJump(nn.Module):
    """A node's states by layer, summed by weights of attention: sum over l of a_l h^(l).

    mode: a cell of `gat.nn.recurrent`, which runs over the layers in both directions with
    num_layers * channels // 2 units each, of whose outputs z a learned query makes the weights,
    a = softmax over l of q . z_l, as PyG's "lstm" does; or "attention", softmax over l of
    v . tanh(W h^(l) + q) (Yang et al. 2016, "Hierarchical Attention Networks for Document
    Classification", eq. 5-6).

    Each node is a target of its own that its states by layer enter. These edges are none of the
    graph's, so explainers and `gat.record_attention` leave them out, as all that has PyG's
    ``explain=False``. With ``attention.explain = None`` they are recorded too: source
    n * num_layers + l is node n after layer l.
    """

    def __init__(self, mode: str, channels: int, num_layers: int) -> None:
        super().__init__()
        self.mode, self.num_layers = mode, num_layers
        width = channels
        self.rnn: nn.Module | None = None
        self.lin: nn.Module | None = None
        if mode == "attention":
            self.lin = nn.Linear(channels, channels, bias=False)
        else:
            units = max(1, num_layers * channels // 2)
            self.rnn = CELLS[mode](channels, units, batch_first=True, bidirectional=True)
            width = 2 * units
        self.attention = Attend(width, score="dot" if self.lin is None else "mlp")
        for part in self.modules():
            if isinstance(part, Attend):
                part.explain = False
        self.query = nn.Parameter(torch.empty(1, 1, width))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        reset_children(self)
        bound = 1 / math.sqrt(self.query.size(-1))
        nn.init.uniform_(self.query, -bound, bound)

    def forward(self, states: Sequence[Tensor]) -> Tensor:
        """[N, channels] of each layer's states [N, channels]; [B, N, .] of [B, N, .]."""
        joined = torch.stack(list(states), dim=-2)
        nodes = joined.flatten(0, -3)
        keys = self._keys(nodes)
        count = nodes.size(0)
        graph = topology.hierarchy((self.num_layers,) * count, device=nodes.device)[0]
        query = self.query.expand(count, -1, -1)
        key, value = (one.flatten(0, 1).unsqueeze(1) for one in (keys, nodes))
        return self.attention(query, key, value, graph).view_as(states[0])

    def _keys(self, nodes: Tensor) -> Tensor:
        """What is scored [N, L, width], of states [N, L, channels]."""
        if self.rnn is not None:
            return self.rnn(nodes)[0]
        assert self.lin is not None
        return self.lin(nodes)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.mode!r})"


def make_jump(mode: str, widths: list[int]) -> tuple[nn.Module | None, int]:
    """The jumping-knowledge layer, if any, and the width it leaves to the output layer.

    widths: of what enters the hidden layers, then of what each gives.
    """
    one_of("jumping_knowledge", mode, JUMPS)
    if mode == "none":
        return None, widths[-1]
    hidden = widths[1:]
    if mode != "cat" and len(set(hidden)) > 1:
        raise InputError(
            f"jumping_knowledge={mode!r} needs hidden layers of one width, these have {hidden}; "
            f"use 'cat' or the same number of heads in every layer"
        )
    make = JumpingKnowledge if mode in PYGS else AttentiveJump
    return make(mode, hidden[0], len(hidden)), sum(hidden) if mode == "cat" else hidden[0]
