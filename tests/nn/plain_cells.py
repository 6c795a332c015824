"""torch's own cells under the conventions of `gat.nn.recurrent.Recurrent`, and torch's modules."""

import torch
from torch import nn

from gat.nn.recurrent import Recurrent


class Tanh(Recurrent):
    def step(self, x, carry, part):
        return (torch.tanh(x + carry[0] @ part.weight_hh.t()),)


class FourGates(Recurrent):
    gates = 4
    states = 2

    def step(self, x, carry, part):
        h, c = carry
        i, f, g, o = (x + h @ part.weight_hh.t()).chunk(4, dim=1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c


# Of one cell ours and torch's.
TWINS = {"rnn": (Tanh, nn.RNN), "lstm": (FourGates, nn.LSTM)}
