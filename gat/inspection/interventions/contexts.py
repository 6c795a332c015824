"""Interventions: what a model does with other attention than its own.

Each is a context manager on any attention layers of a model, ours or PyTorch Geometric's, eager or
compiled. It leaves the model as it was, also after an error. Several may be in force at once, on
one layer too: they follow one another in the order in which they were entered. All take E x H
memory and can be differentiated; in training the changed weights are dropped as usual. A layer
asked for its weights meanwhile (``return_attention_weights``, `gat.record_attention`) tells the
changed ones.

layers: names of layers, as in ``model.named_modules()``; by default all attention layers. A
layer's mean over heads (``concat=False``) stays one over all its heads. All raise InputError for
names, heads and sizes that do not fit, and for a layer whose attention cannot be changed: one of a
class of its own, or one that runs PyG's code because it is explained or hooked. What is changed are
weights of edges; HANConv's weights of edge types follow from the result as always. A deep copy made
meanwhile keeps the intervention.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

from torch import Tensor, nn

from gat.inspection.interventions.changing import (
    Layers,
    changing,
    check_heads,
    layers_of,
    num_heads,
)
from gat.inspection.interventions.edge_changes import OnScores, PerEdge, check_per_edge
from gat.inspection.interventions.frozen import Frozen, records_by_layer
from gat.inspection.interventions.weight_changes import (
    CallerFunction,
    Function,
    joins_heads,
    switched_off,
    uniform,
    zeroed_channels,
)
from gat.inspection.record import Attention, AttentionRecord

__all__ = [
    "bias_edges",
    "change_attention",
    "freeze_attention",
    "mask_edges",
    "switch_off_heads",
    "uniform_attention",
]


@contextmanager
def change_attention(model: nn.Module, function: Function, layers: Layers = None) -> Iterator[None]:
    """Whatever ``function`` makes of the weights, in the caller's terms::

        with change_attention(model, lambda record: record.weights.square()): ...

    function: is given an `AttentionRecord` of each call of each layer, with the gradient of its
    weights (before dropout), and returns the new weights [E, H] or [E, 1] of the caller's edges, or
    a pair of them and of ``loops`` [num_dst, H], the loops the layer added, which else stay. They
    are not normalised. Of a batch of B feature matrices the record has B*H heads. HANConv and
    HGTConv call it for each edge type, which the record names.
    """
    found = layers_of(model, layers)
    changes = {path: CallerFunction(path, one, function) for path, one in found.items()}
    with changing(model, changes):
        yield


@contextmanager
def uniform_attention(
    model: nn.Module, layers: Layers = None, heads: Iterable[int] | None = None
) -> Iterator[None]:
    """Weights 1 / degree: all edges of a target the same, self-loops too, whatever the scores.

    heads: of those alone. Masked edges keep weight 0 and do not count, neither those of
    `mask_edges` before nor those the model masks itself; RGATConv's "within-relation" attention is
    uniform within each relation, HGTConv's over the edges of all types.
    """
    found = layers_of(model, layers)
    wanted = None if heads is None else tuple(heads)
    changes = {
        path: uniform(None if wanted is None else check_heads(path, layer, wanted))
        for path, layer in found.items()
    }
    with changing(model, changes):
        yield


@contextmanager
def freeze_attention(
    model: nn.Module,
    attention: Attention | Sequence[AttentionRecord] | AttentionRecord,
    layers: Layers = None,
) -> Iterator[None]:
    """The weights of a record in the place of the layer's own, whatever the features are.

    attention: records of this model on the edges it will be called with, in the same order; one
    `AttentionRecord` with ``layers`` freezes those layers, whatever layer it is of. Of a record of
    some heads or some nodes the rest stays the layer's own. A layer that was recorded more than
    once in a pass ("conv1", "conv1#2") takes the records in turn. In training the weights are
    dropped, so a record "after_dropout" is refused there. No gradient reaches what the scores are
    made of.

    Raises InputError also where the record's edges are not those the layer attends over, and for a
    node that was recorded with some of its edges only.
    """
    found = layers_of(model, layers)
    records = records_by_layer(attention, found, layers is not None)
    changes = {path: Frozen(path, found[path], own) for path, own in records.items()}
    with changing(model, changes):
        yield


@contextmanager
def mask_edges(
    model: nn.Module, mask: PerEdge, layers: Layers = None, *, loops: Tensor | None = None
) -> Iterator[None]:
    """Edges left out of the attention, as if the scores were -inf: the weights of the others grow
    to sum to what they should; a target all of whose edges are masked gets weights 0.

    mask: bool [E] or [E, H] in the caller's edge order, True where to attend; or a dict of them by
    edge type, for HANConv, HGTConv and layers named by their edge type (HeteroConv, ``to_hetero``):
    types that it does not hold stay. loops: bool [num_dst] or [num_dst, H], the same for the loops
    a layer adds, which else stay. A loop the caller passed is masked as one of the caller's edges,
    those of a `gat.Graph` with loops too: its order is that of its edge_index, as when recorded.
    """
    with _on_scores(model, "mask", mask, loops, layers):
        yield


@contextmanager
def bias_edges(
    model: nn.Module, bias: PerEdge, layers: Layers = None, *, loops: Tensor | None = None
) -> Iterator[None]:
    """A number added to the scores of edges before they are normalised; of softmax weights, w
    becomes w * exp(bias) over its sum.

    bias: floating [E] or [E, H] in the caller's edge order, or a dict by edge type; loops [num_dst]
    or [num_dst, H]: as in `mask_edges`. After an intervention that sets the weights themselves
    (uniform, frozen, changed) these are multiplied and rescaled in the same way.
    """
    with _on_scores(model, "bias", bias, loops, layers):
        yield


@contextmanager
def switch_off_heads(model: nn.Module, heads: Mapping[str, Iterable[int]]) -> Iterator[None]:
    """Heads that contribute nothing, whatever interventions follow: their weights are 0.

    heads: for each layer the numbers of its heads, ``{"conv1": [0, 3]}``. Where heads are joined,
    their channels in the layer's output are 0, their part of its bias and residual too, as if the
    head were not there. With ``concat=False`` bias and residual belong to no head and stay, and the
    mean is still one over all heads. `gat.inspection.prune_heads` makes a smaller model that
    computes the same. HANConv, which has no bias, weighs edge types anew by what is left.
    """
    found = layers_of(model, heads)
    off = {path: check_heads(path, found[path], numbers) for path, numbers in heads.items()}
    changes = {path: switched_off(numbers) for path, numbers in off.items()}
    with changing(model, changes), ExitStack() as stack:
        for path, numbers in off.items():
            if joins_heads(found[path]):
                hook = zeroed_channels(numbers, num_heads(found[path]))
                stack.callback(found[path].register_forward_hook(hook, prepend=True).remove)
        yield


@contextmanager
def _on_scores(
    model: nn.Module, name: str, given: PerEdge, loops: Tensor | None, layers: Layers
) -> Iterator[None]:
    found = layers_of(model, layers)
    check_per_edge(name, given, loops, found)
    with changing(model, {path: OnScores(path, name, given, loops) for path in found}):
        yield
