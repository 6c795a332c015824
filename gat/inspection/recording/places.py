"""Where a layer stands in its model: the name that its record gets, and its edge type."""

from collections.abc import Iterable, Mapping

from torch import nn

from gat.errors import InputError
from gat.inspection.compiled import COMPILED, plain_name
from gat.inspection.reach import names_kind
from gat.inspection.record import EdgeType

__all__ = ["Place", "places_of"]

# A layer's name and, of one that stands under an edge type, that type.
Place = tuple[str, EdgeType | None]


def places_of(
    model: nn.Module, layers: Mapping[str, nn.Module], kinds: Iterable[EdgeType | None] = ()
) -> dict[str, Place]:
    """The place of each of the layers, by path.

    A layer in a HeteroConv, or in a model made by to_hetero, has the name of what holds one such
    layer for each edge type. kinds: the graph's edge types, where they are known; to_hetero writes
    some characters differently.

    Raises InputError for a layer that stands under several edge types.
    """
    known = [kind for kind in kinds if kind is not None]
    paths: dict[nn.Module, list[str]] = {}
    for path, module in model.named_modules(remove_duplicate=False):
        paths.setdefault(module, []).append(path)
    places = {}
    for name, layer in layers.items():
        found = [_place(model, path, known) for path in paths[layer]]
        types = list(dict.fromkeys(kind for _, kind in found))
        if len(types) > 1:
            raise InputError(
                f"{type(layer).__name__} in {found[0][0]!r} is one layer for {len(types)} edge "
                f"types, {', '.join(map(str, types))}, and its calls do not tell of which they "
                f"are; give each type a layer of its own, or leave this one out with layers="
            )
        places[name] = found[0]
    return places


def _place(model: nn.Module, path: str, kinds: list[EdgeType]) -> Place:
    holder, parts = model, path.split(".") if path else []
    for number, part in enumerate(parts):
        kind = _kind(part, kinds) if isinstance(holder, nn.ModuleDict) else None
        if kind is not None:
            outer = parts[:number]
            if part.startswith("<") and outer[-1:] == ["convs"]:
                outer.pop()
            return _named(model, [*outer, *parts[number + 1 :]]), kind
        holder = holder._modules[part]  # type: ignore[assignment]
    return _named(model, parts), None


def _named(model: nn.Module, parts: list[str]) -> str:
    whole = model._modules.get(COMPILED) or model
    return plain_name(".".join(parts)) or type(whole).__name__


def _kind(part: str, kinds: list[EdgeType]) -> EdgeType | None:
    """The edge type that a part of a path is, as HeteroConv and to_hetero write it."""
    for kind in kinds:
        if names_kind(part, kind):
            return kind
    if part.startswith("<") and part.endswith(">"):
        ends = part[1:-1].replace("#", ".").split("___")
    else:
        ends = part.split("__")
    return (ends[0], ends[1], ends[2]) if len(ends) == 3 and all(ends) else None
