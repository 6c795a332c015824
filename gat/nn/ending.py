"""What follows the weighted sum in `AttentionConv`: heads joined, residual, gate, bias."""

import torch
from torch import Tensor, nn
from torch_geometric.nn import Linear
from torch_geometric.nn.inits import zeros

from gat.checks import one_of
from gat.errors import InputError
from gat.nn.batched import split_batch
from gat.nn.features import project

__all__ = ["GATES", "RESIDUALS", "Ending"]

RESIDUALS = (False, True, "linear", "identity")
GATES = (None, "residual", "heads")


class Ending(nn.Module):
    """From the sums [num_dst, H, C] to the layer's output [num_dst, H*C], or [num_dst, C] averaged.

    residual: "linear" (or True), a projection of the target's features, or "identity".
    gate: "residual", beta r + (1 - beta) m for residual r and sum m, where
    beta = sigmoid(w . [m; r; m - r]) (Shi et al. 2021, "Masked Label Prediction", eq. 5); "heads",
    each head times sigmoid(w_h . x_i) (after Zhang et al. 2018, "GaAN", eq. 3, whose gate looks at
    the neighbours too).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        heads: int,
        concat: bool,
        residual: bool | str,
        gate: str | None,
        bias: bool,
    ) -> None:
        super().__init__()
        one_of("residual", residual, RESIDUALS)
        one_of("gate", gate, GATES)
        if gate == "residual" and not residual:
            raise InputError("gate='residual' mixes in the residual: set residual='linear' too")
        width = out_channels * (heads if concat else 1)
        if residual == "identity" and in_channels != -1:
            _check_same(in_channels, width)
        self.concat, self.residual, self.gate = concat, residual, gate
        linear = residual in (True, "linear")
        self.lin_residual = Linear(in_channels, width, bias=False) if linear else None
        self.lin_beta = Linear(3 * width, 1, bias=False) if gate == "residual" else None
        self.lin_heads = Linear(in_channels, heads) if gate == "heads" else None
        self.bias = nn.Parameter(torch.empty(width)) if bias else None
        zeros(self.bias)

    @property
    def asks_targets(self) -> bool:
        """Whether the targets' own features are needed."""
        return bool(self.residual or self.gate)

    def reset_parameters(self) -> None:
        for part in self.children():
            part.reset_parameters()  # type: ignore[operator]
        zeros(self.bias)

    def forward(self, out: Tensor, x_dst: Tensor | None, batch: int | None) -> Tensor:
        out = split_batch(out, batch)
        if self.lin_heads is not None:
            out = out * torch.sigmoid(project(self.lin_heads, _known(x_dst))).unsqueeze(-1)
        out = out.flatten(-2) if self.concat else out.mean(dim=-2)
        if self.residual:
            out = self._with_residual(out, _known(x_dst))
        return out if self.bias is None else out + self.bias

    def _with_residual(self, out: Tensor, x_dst: Tensor) -> Tensor:
        if self.lin_residual is None:
            _check_same(x_dst.size(-1), out.size(-1))
            kept = x_dst
        else:
            kept = project(self.lin_residual, x_dst)
        if kept.layout is not torch.strided:
            kept = kept.to_dense()
        if self.lin_beta is None:
            return out + kept
        beta = torch.sigmoid(self.lin_beta(torch.cat([out, kept, out - kept], dim=-1)))
        return beta * kept + (1 - beta) * out


def _check_same(in_channels: int, width: int) -> None:
    if in_channels != width:
        raise InputError(
            f"residual='identity' needs as many features in as out, but the targets have "
            f"{in_channels} and the layer gives {width}; use residual='linear'"
        )


def _known(x_dst: Tensor | None) -> Tensor:
    assert x_dst is not None
    return x_dst
