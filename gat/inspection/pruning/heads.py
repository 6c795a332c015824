"""A smaller model without some of its heads, which computes what the model does with them off.

`files.py` saves and loads it.
"""

import copy
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from torch import nn

from gat.errors import InputError
from gat.inspection.compiled import COMPILED
from gat.inspection.interventions.changing import CHANGED, check_heads, layers_of
from gat.inspection.interventions.weight_changes import joins_heads
from gat.inspection.pruning.smaller_layers import drop_heads, keep_inputs
from gat.inspection.words import shown
from gat.models import GAT

__all__ = ["PRUNED", "Following", "prune_heads"]

# For each layer what its output goes into: one module's name, several, or none.
Following = Mapping[str, str | Iterable[str]]
# Where a smaller model keeps what was done to it, for `save_pruned`.
PRUNED = "_gat_pruned"


def prune_heads(
    model: nn.Module,
    heads: Mapping[str, Iterable[int]],
    *,
    following: Following | None = None,
) -> nn.Module:
    """A copy of the model without those heads: smaller parameters, the same results as the model
    gives inside ``switch_off_heads(model, heads)``. The model stays as it is.

    heads: for each layer the numbers of the heads to remove, ``{"conv1": [0, 3]}``. Layers are
    GATConv, GATv2Conv, TransformerConv and SuperGATConv, ours or PyTorch Geometric's, and become
    ordinary ones of fewer heads. With ``concat=False`` the mean over fewer heads is kept equal by
    smaller values.

    following: of layers that join their heads, the module their output goes into, which loses these
    inputs: ``{"conv1": "conv2"}``, several ``{"conv1": ["conv2", "skip"]}``, or none, ``{"conv1":
    []}``, where the model gives the channels away. What lies between must leave 0 at 0 and channels
    apart, as ReLU, ELU and dropout do, and normalisation does not. A `gat.models.GAT` knows itself.

    The smaller model's ``state_dict`` loads into what the same call makes of another model of the
    same sizes. Dropout draws other entries than in the whole model.

    Raises InputError for a layer or model for which the results could not be the same: what follows
    a layer that joins its heads is unknown; a GAT with a residual, with a norm, or with
    jumping_knowledge other than "cat"; TransformerConv with ``beta`` and joined heads; SuperGATConv
    that averages heads.
    """
    if any(CHANGED in vars(module) for module in model.modules()):
        raise InputError("an intervention is in force at the model; prune heads outside of it")
    whole = getattr(model, COMPILED, model)
    dropped = {
        path: tuple(sorted(set(check_heads(path, layer, heads[path]))))
        for path, layer in layers_of(whole, heads).items()
    }
    smaller = copy.deepcopy(whole)
    # Last layer first: what it leaves of a concatenation does not move what stands before.
    for path, layer in reversed(_in_model_order(smaller, dropped)):
        places = _places(smaller, path, layer, following) if joins_heads(layer) else []
        width = layer.heads * layer.out_channels
        left = drop_heads(shown(path, layer), layer, dropped[path])
        for place in places:
            keep_inputs(place.name, _module(smaller, place.name), left, width, place.start)
    step: dict[str, Any] = {"heads": {path: list(numbers) for path, numbers in dropped.items()}}
    if following is not None:
        step["following"] = {path: _names(after) for path, after in following.items()}
    smaller.__dict__[PRUNED] = [*smaller.__dict__.get(PRUNED, ()), step]
    return smaller


class Place(NamedTuple):
    """A module that a layer's output goes into; start: where among its inputs, None: they are
    all."""

    name: str
    start: int | None = None


def _in_model_order(model: nn.Module, paths: Iterable[str]) -> list[tuple[str, Any]]:
    order = [module for _, module in model.named_modules()]
    layers = [(path, model.get_submodule(path)) for path in paths]
    return sorted(layers, key=lambda one: order.index(one[1]))


def _places(
    model: nn.Module, path: str, layer: nn.Module, following: Following | None
) -> list[Place]:
    if following is None and isinstance(model, GAT):
        return _places_in_gat(model, path)
    if following is None or path not in following:
        raise InputError(
            f"{shown(path, layer)} joins its heads, and what their channels go into is unknown; "
            f"name the next module, as in following={{{path!r}: 'conv2'}}, or none, "
            f"{{{path!r}: []}}, where the model gives them away"
        )
    return [Place(name) for name in _names(following[path])]


def _places_in_gat(model: GAT, path: str) -> list[Place]:
    """What a hidden layer's output goes into, in our own network."""
    index = int(path.split(".")[1])
    hidden: Any = model.hidden
    why = ""
    if hidden[index].skip is not None:
        why = "a residual fills the channels of a head that is off"
    elif not isinstance(hidden[index].norm, nn.Identity):
        why = "its norm makes other numbers of the zeros of a head that is off"
    elif (mode := getattr(model.jump, "mode", "cat")) != "cat":
        why = f"jumping_knowledge={mode!r} needs hidden layers of one width"
    if why:
        raise InputError(
            f"heads of {path} cannot be removed without changing what this GAT computes: {why}. "
            f"switch_off_heads takes it as it is"
        )
    is_last = index + 1 == len(hidden)
    places = [] if is_last else [Place(f"hidden.{index + 1}.conv")]
    if model.jump is not None:
        widths = [one.conv.heads * one.conv.out_channels for one in hidden[:index]]
        places.append(Place("output", sum(widths)))
    elif is_last:
        places.append(Place("output"))
    return places


def _module(model: nn.Module, name: str) -> nn.Module:
    try:
        return model.get_submodule(name)
    except AttributeError:
        raise InputError(f"following names {name!r}, and the model has no such module") from None


def _names(names: str | Iterable[str]) -> list[str]:
    return [names] if isinstance(names, str) else list(names)
