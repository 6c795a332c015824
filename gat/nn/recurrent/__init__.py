"""Recurrent networks under the conventions of `torch.nn.LSTM`: cells with a longer memory, and
attention over a network's own states."""

from collections.abc import Callable

from torch import nn

from gat.nn.recurrent.attentive import SelfAttentiveLSTM, SelfAttentiveRNN
from gat.nn.recurrent.cells import JANET, IndRNN
from gat.nn.recurrent.conventions import Recurrent
from gat.nn.recurrent.steps import pack_ragged

__all__ = [
    "CELLS",
    "JANET",
    "IndRNN",
    "Recurrent",
    "SelfAttentiveLSTM",
    "SelfAttentiveRNN",
    "pack_ragged",
]

# By name, torch's own too: all take torch.nn.LSTM's arguments by name, and are called as it is.
CELLS: dict[str, Callable[..., nn.Module]] = {
    "rnn": nn.RNN,
    "lstm": nn.LSTM,
    "gru": nn.GRU,
    "janet": JANET,
    "indrnn": IndRNN,
    "attentive-rnn": SelfAttentiveRNN,
    "attentive-lstm": SelfAttentiveLSTM,
}
