"""How a layer's attention comes about: its heads over the epochs of training."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gat.errors import InputError
from gat.inspection.measures import EpochChange, change_over_epochs
from gat.inspection.pictures.palette import GREY, stroke
from gat.inspection.pictures.style import drawn, finish, grid
from gat.inspection.record import Attention, AttentionRecord, in_order
from gat.inspection.words import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_epochs"]


@drawn
def draw_epochs(
    history: Mapping[int, AttentionRecord | Attention] | EpochChange, layer: Any = None
) -> "Figure":
    """Three panels over epochs, a line per head: the effective number of neighbours, the weight on
    self, and how much the weights changed since the epoch before.

    history: records by epoch, or what `change_over_epochs` made of them. Of an Attention the layer
    called ``layer`` is drawn, or the last. Raises InputError for records that do not go together.
    """
    change, name = _read(history, layer)
    figure, axes = grid(3, 3.1, 2.9, columns=3)
    even = {"color": GREY, "linewidth": 3, "alpha": 0.5, "zorder": 1}
    for ax, series, reference in (
        (axes[0], "effective_neighbours", "degree"),
        (axes[1], "self_weight", "self_uniform"),
    ):
        ax.plot(change.epochs, change.series(reference)[:, 0].cpu(), **even)
        _lines(ax, change.epochs, change.series(series).cpu(), change.heads)
    _lines(axes[2], change.epochs[1:], change.successive.cpu(), change.heads)
    axes[0].set(title="spread", ylabel="effective number of neighbours")
    axes[1].set(title="on itself", ylabel="share of a node's attention")
    axes[2].set(title="change", ylabel="Jensen-Shannon divergence (nats)")
    for ax in axes:
        # From 0, or small differences would look large.
        ax.set_ylim(0, 1.1 * ax.dataLim.y1 if ax.dataLim.y1 > 0 else 1)
        ax.set_xlabel("epoch")
        span = max(1, change.epochs[-1] - change.epochs[0])
        ax.xaxis.get_major_locator().set_params(integer=True)
        if len(change.epochs) == 1:
            ax.set_xticks(change.epochs)
        ax.set_xlim(change.epochs[0] - 0.04 * span, change.epochs[-1] + 0.04 * span)
    title = f"The attention of {name} while the network trains"
    return finish(figure, title, _caption(change), _handles(change.heads, even))


def _read(history: Any, layer: Any) -> tuple[EpochChange, str]:
    if not isinstance(history, EpochChange):
        records = {epoch: _record(one, layer) for epoch, one in history.items()}
        history = change_over_epochs(records)
    if not history.measures:
        raise InputError("the history has no epochs; expected a record for one epoch at least")
    return history, history.measures[0].layer


def _record(one: Any, layer: Any) -> AttentionRecord:
    if isinstance(one, Mapping) and layer is not None:
        return one[layer]
    return in_order(one)[-1]


def _lines(ax: Any, epochs: Any, values: Any, heads: tuple[int, ...]) -> None:
    for column, head in enumerate(heads):
        ax.plot(epochs, values[:, column], **stroke(head), gid=f"head {head}")


def _handles(heads: tuple[int, ...], even: dict[str, Any]) -> list[Any]:
    from matplotlib.lines import Line2D

    lines = [Line2D([], [], label=f"head {head}", **stroke(head)) for head in heads]
    return [*lines, Line2D([], [], label="even spread", **even)]


def _caption(change: EpochChange) -> str:
    return (
        f"{counted(len(change.heads), 'head')} at {counted(len(change.epochs), 'epoch')}; means "
        f"over nodes with two edges or more. Left: exp(entropy), the number of neighbours that "
        f"would get as even a share. Middle: what a node keeps to itself. The broad grey line in "
        f"both is what an even spread would give. Right: how far the weights are from those of the "
        f"recorded epoch before; 0 means no change, 0.693 is the most there can be."
    )
