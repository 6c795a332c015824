"""Which edge is which: from the edges a layer attended over back to those the caller passed."""

import torch
from torch import Tensor

__all__ = ["own_rows"]


def own_rows(caller: Tensor, listed: Tensor) -> Tensor | None:
    """Where each of the caller's edges [2, E] stands among a layer's ``listed`` edges [2, E']: [E].

    The k-th copy of an edge is the k-th copy of it there, in whatever order. Self-loops alone may
    differ: -1 for one the layer does not have. None if other edges differ.
    """
    caller, listed = caller.long(), listed.long()
    positions = torch.arange(listed.size(1), device=listed.device)
    if torch.equal(caller, listed):
        return positions
    number = _number(caller, listed)
    at = torch.full_like(number, -1)
    at[number[caller.size(1) :]] = positions
    rows = at[number[: caller.size(1)]]
    found = rows >= 0
    left = torch.ones_like(positions, dtype=torch.bool).index_fill(0, rows[found], False)
    differing = torch.cat([caller[:, ~found], listed[:, left]], dim=1)
    return rows if torch.equal(differing[0], differing[1]) else None


def _number(caller: Tensor, listed: Tensor) -> Tensor:
    """A number below E + E' for each edge of both, [E + E']: one for the k-th copies of an edge."""
    both = torch.cat([caller, listed], dim=1)
    width = int(both.max()) + 1 if both.numel() else 1
    _, kind = torch.unique(both[0] * width + both[1], return_inverse=True)
    copies = [_copy(part) for part in kind.split([caller.size(1), listed.size(1)])]
    return torch.unique(kind * both.size(1) + torch.cat(copies), return_inverse=True)[1]


def _copy(kind: Tensor) -> Tensor:
    """How many equal entries stand before each one, [E]."""
    ordered, order = torch.sort(kind, stable=True)
    before = torch.arange(kind.numel(), device=kind.device) - torch.searchsorted(ordered, ordered)
    return torch.empty_like(before).index_copy(0, order, before)
