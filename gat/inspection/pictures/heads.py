"""Whether the heads of a layer see the same: the divergences between all pairs of them."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from gat.errors import InputError
from gat.inspection.measures import HeadAgreement, head_agreement
from gat.inspection.pictures.style import drawn, finish, grid
from gat.inspection.record import AttentionRecord
from gat.inspection.words import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_head_agreement"]

# More heads have no room for a number in each cell.
NUMBERED = 16


@drawn
def draw_head_agreement(
    attention: AttentionRecord | HeadAgreement | Tensor, title: str | None = None
) -> "Figure":
    """The mean Jensen-Shannon divergence between every two heads, as a matrix with its numbers.

    attention: a record; what `head_agreement` says of one; or a matrix [H, H] in nats.
    """
    heads, matrix, name = _read(attention)
    side = max(2.6, 0.5 * len(heads) + 0.8)
    figure, (ax,) = grid(1, side + 1.0, side)
    largest = float(np.nanmax(matrix, initial=0.0))
    thousandths = largest < 0.02 and len(heads) > 1 and not np.isnan(matrix).all()
    # A scale that ends at the largest difference, but makes no contrast out of next to nothing.
    top = 1000 * max(largest, 0.01) if thousandths else (largest or math.log(2))
    matrix = 1000 * matrix if thousandths else matrix
    image = ax.imshow(matrix, cmap="Greys", vmin=0, vmax=top)
    ax.spines[:].set_visible(False)
    ax.set_xticks(range(len(heads)), heads)
    ax.set_yticks(range(len(heads)), heads)
    ax.set(xlabel="head", ylabel="head")
    if len(heads) <= NUMBERED:
        _write_numbers(ax, matrix, top)
    bar = figure.colorbar(image, ax=ax, shrink=0.9)
    bar.set_label(f"Jensen-Shannon divergence ({'0.001 ' if thousandths else ''}nats)")
    heading = title or f"Agreement between the heads{name}"
    return finish(figure, heading, " ".join(_caption(matrix, thousandths)))


def _read(attention: Any) -> tuple[list[int], np.ndarray, str]:
    """The heads' numbers, their divergences [H, H] and the layer as a title has it."""
    if isinstance(attention, AttentionRecord):
        matrix = head_agreement(attention).divergence
        return list(attention.heads), matrix.cpu().numpy(), f" of {attention.name}"
    if isinstance(attention, HeadAgreement):
        attention = attention.divergence
    matrix = torch.as_tensor(attention).detach().double().cpu()
    if matrix.dim() != 2 or matrix.size(0) != matrix.size(1) or not matrix.size(0):
        raise InputError(
            f"the divergences have shape {list(matrix.shape)}; expected a row and a column for "
            f"each head, [H, H]"
        )
    return list(range(matrix.size(0))), matrix.numpy(), ""


def _write_numbers(ax: Any, matrix: np.ndarray, top: float) -> None:
    for (row, column), value in np.ndenumerate(matrix):
        dark = value > 0.55 * top
        text = "–" if np.isnan(value) else f"{value:.2f}"
        ax.text(
            column, row, text, ha="center", va="center", size=8,
            color="white" if dark else "black", gid="number",
        )  # fmt: skip


def _caption(matrix: np.ndarray, thousandths: bool) -> Iterator[str]:
    if len(matrix) == 1:
        yield "One head is recorded: there is none to agree with."
        return
    if np.isnan(matrix).all():
        yield "No node has two edges or more, so no head has a choice to differ in."
        return
    pairs = counted(len(matrix) * (len(matrix) - 1) // 2, "pair")
    yield (
        f"How differently two heads share out a node's attention: the mean over nodes of the "
        f"Jensen-Shannon divergence between their weights, for {pairs} of heads."
    )
    most = 1000 * math.log(2) if thousandths else math.log(2)
    yield f"0: the same weights; {most:.3g} (log 2): no neighbour in common."
    if thousandths:
        yield "Numbers are thousandths: all heads are nearly the same."
