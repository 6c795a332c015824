"""The network of the GAT paper and its usual variants, from one set of options."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.nn import JumpingKnowledge

from gat.errors import InputError
from gat.nn import GATConv, GATv2Conv
from gat.nn.dropout import dropout
from gat.nn.features import Linear, drop_features
from gat.ops.dropout import check_probability

__all__ = ["ACTIVATIONS", "ATTENTIONS", "GAT", "NORMS"]

ATTENTIONS: dict[str, Callable[..., nn.Module]] = {"gat": GATConv, "gatv2": GATv2Conv}
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "elu": F.elu,
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
    "gelu": F.gelu,
}
NORMS: dict[str, Callable[[int], nn.Module]] = {
    "none": lambda width: nn.Identity(),
    "batch": nn.BatchNorm1d,
    "layer": nn.LayerNorm,
}
JUMPS = ("none", "cat", "max", "lstm")
RESIDUALS = ("none", "linear", "identity")


class GAT(nn.Module):
    """Graph attention network (Velickovic et al. 2018, section 3.3), or with GATv2's score.

    Each hidden layer is: feature dropout, attention, residual, normalisation, activation. The last
    attention layer gives the classes, its ``output_heads`` averaged; with ``linear_output`` or
    ``jumping_knowledge`` every attention layer is a hidden one and a linear layer gives the
    classes. The defaults are the paper's for Cora.

    in_channels, out_channels: features in, classes out. hidden_channels: per head. heads: of the
    hidden layers, one number or one per hidden layer; joined if ``concat``, else averaged.
    feature_dropout, attention_dropout, value_dropout: the official code's three dropouts, on what
    enters a layer, on the weights, and on the projected features that are summed. input_dropout:
    on the network's input, where it differs from feature_dropout.
    residual: "linear" (a learned projection), "identity" (as it is where widths match, else
    projected) or "none". norm: "batch", "layer" or "none". jumping_knowledge: "cat", "max", "lstm"
    (Xu et al. 2018) or "none". linear_input: project and activate the features first.
    symmetric_norm: see `gat.nn.gat_layers.AttentionMixin`. edge_dim: features per edge, if any.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        hidden_channels: int = 8,
        num_layers: int = 2,
        heads: int | Sequence[int] = 8,
        output_heads: int = 1,
        attention: str = "gat",
        concat: bool = True,
        feature_dropout: float = 0.6,
        input_dropout: float | None = None,
        attention_dropout: float = 0.6,
        value_dropout: float = 0.6,
        activation: str = "elu",
        norm: str = "none",
        residual: str = "none",
        jumping_knowledge: str = "none",
        linear_input: bool = False,
        linear_output: bool = False,
        symmetric_norm: bool = False,
        add_self_loops: bool = True,
        negative_slope: float = 0.2,
        bias: bool = True,
        edge_dim: int | None = None,
    ) -> None:
        # All it takes to make such a network again.
        self.options = {k: v for k, v in locals().items() if k not in ("self", "__class__")}
        super().__init__()
        _check_choice("attention", attention, ATTENTIONS)
        counts = {"num_layers": num_layers, "hidden_channels": hidden_channels}
        _check_counts({**counts, "output_heads": output_heads})
        attend = partial(
            ATTENTIONS[attention],
            dropout=attention_dropout,
            value_dropout=value_dropout,
            symmetric_norm=symmetric_norm,
            add_self_loops=add_self_loops,
            negative_slope=negative_slope,
            bias=bias,
            edge_dim=edge_dim,
        )
        ends_linear = linear_output or jumping_knowledge != "none"
        self.feature_dropout = feature_dropout
        self.input_dropout = feature_dropout if input_dropout is None else input_dropout
        check_probability("feature_dropout", self.feature_dropout)
        check_probability("input_dropout", self.input_dropout)

        widths = [in_channels]
        self.input: nn.Module | None = None
        if linear_input:
            widths = [hidden_channels]
            self.input = nn.Sequential(Linear(in_channels, hidden_channels), Activation(activation))
        self.hidden = nn.ModuleList()
        for count in _spread(heads, num_layers - (not ends_linear)):
            conv = attend(widths[-1], hidden_channels, count, concat=concat)
            widths.append(hidden_channels * (count if concat else 1))
            self.hidden.append(
                HiddenLayer(conv, widths[-2], widths[-1], residual, norm, activation)
            )
        self.jump, width = _jump(jumping_knowledge, widths)
        self.output: nn.Module
        if ends_linear:
            self.output = nn.Linear(width, out_channels)
        else:
            self.output = attend(width, out_channels, output_heads, concat=False)

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        _reset_children(self)

    def forward(self, x: Tensor, edge_index: Any, edge_attr: Tensor | None = None) -> Tensor:
        """x [N, in_channels], dense or torch sparse CSR; edge_index [2, E] or a `gat.Graph`;
        edge_attr [E, edge_dim] in the caller's edge order. Returns scores of the classes
        [N, out_channels]."""
        x = drop_features(x, self.input_dropout, self.training)
        if self.input is not None:
            x = self._drop(self.input(x))
        states = []
        for layer in self.hidden:
            states.append(layer(x, edge_index, edge_attr))
            x = self._drop(states[-1])
        if self.jump is not None:
            x = self._drop(self.jump(states))
        if isinstance(self.output, nn.Linear):
            return self.output(x)
        return self.output(x, edge_index, edge_attr)

    def _drop(self, x: Tensor) -> Tensor:
        return dropout(x, self.feature_dropout, self.training)


class HiddenLayer(nn.Module):
    """Attention, plus the skip, then normalisation and activation."""

    def __init__(
        self, conv: nn.Module, width_in: int, width_out: int, residual: str, norm: str, name: str
    ) -> None:
        super().__init__()
        _check_choice("norm", norm, NORMS)
        self.conv = conv
        self.skip = _skip(residual, width_in, width_out)
        self.norm = NORMS[norm](width_out)
        self.activation = Activation(name)

    def forward(self, x: Tensor, edge_index: Any, edge_attr: Tensor | None) -> Tensor:
        out = self.conv(x, edge_index, edge_attr)
        if self.skip is not None:
            kept = isinstance(self.skip, nn.Identity) and x.layout is not torch.strided
            out = out + (x.to_dense() if kept else self.skip(x))
        return self.activation(self.norm(out))


class Activation(nn.Module):
    """An activation by name, shown by name."""

    def __init__(self, name: str) -> None:
        super().__init__()
        _check_choice("activation", name, ACTIVATIONS)
        self.name = name

    def forward(self, x: Tensor) -> Tensor:
        return ACTIVATIONS[self.name](x)

    def extra_repr(self) -> str:
        return self.name


def _reset_children(module: nn.Module) -> None:
    """Reset the outermost modules that know how, which reset what they hold themselves."""
    for child in module.children():
        reset = getattr(child, "reset_parameters", None)
        if callable(reset):
            reset()
        else:
            _reset_children(child)


def _check_choice(name: str, value: str, known: Any) -> None:
    if value not in known:
        raise InputError(f"{name} is {value!r}; expected one of {', '.join(map(repr, known))}")


def _check_counts(counts: dict[str, int]) -> None:
    for name, count in counts.items():
        if count < 1:
            raise InputError(f"{name} is {count}; expected 1 or more")


def _spread(heads: int | Sequence[int], count: int) -> list[int]:
    """Heads of each hidden layer."""
    spread = [heads] * count if isinstance(heads, int) else list(heads)
    if len(spread) != count or any(h < 1 for h in spread):
        raise InputError(
            f"heads is {heads!r}; expected a number >= 1, or {count} of them, one per hidden layer"
        )
    return spread


def _skip(kind: str, width_in: int, width_out: int) -> nn.Module | None:
    _check_choice("residual", kind, RESIDUALS)
    if kind == "none":
        return None
    if kind == "identity" and width_in == width_out:
        return nn.Identity()
    return Linear(width_in, width_out, bias=False)


def _jump(mode: str, widths: list[int]) -> tuple[nn.Module | None, int]:
    """The jumping-knowledge layer, if any, and the width it leaves to the output layer.

    widths: of what enters the hidden layers, then of what each gives.
    """
    _check_choice("jumping_knowledge", mode, JUMPS)
    if mode == "none":
        return None, widths[-1]
    hidden = widths[1:]
    if mode != "cat" and len(set(hidden)) > 1:
        raise InputError(
            f"jumping_knowledge={mode!r} needs hidden layers of one width, these have {hidden}; "
            f"use 'cat' or the same number of heads in every layer"
        )
    layer = JumpingKnowledge(mode, hidden[0], len(hidden))
    return layer, sum(hidden) if mode == "cat" else hidden[0]
