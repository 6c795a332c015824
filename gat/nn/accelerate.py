"""`accelerate`: a model's attention layers of PyTorch Geometric become ours, in place; `restore`
undoes it.

A drop-in is a subclass of PyG's layer that stores nothing of its own, so a module changes its class
and keeps everything else: parameters, buffers, hooks, flags, and its place in optimisers, wrappers
and containers. What was changed is remembered on the module, so that copies and pickles know too.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from types import MappingProxyType

import torch
import torch_geometric.nn as pyg
from torch import nn
from torch_geometric.nn.models import attentive_fp

import gat.nn
from gat.errors import ArgumentTypeError
from gat.nn.pyg import GENERATED, STEPS

__all__ = ["AccelerateReport", "LayerNote", "accelerate", "restore"]

# Layers of PyG for which `gat.nn` has one of the same name.
TWINS = (
    "GATConv",
    "GATv2Conv",
    "TransformerConv",
    "SuperGATConv",
    "AGNNConv",
    "RGATConv",
    "HANConv",
    "HeteroConv",
)
# Attention layers of PyG for which it has none.
OTHERS = MappingProxyType(
    {
        "CuGraphGATConv": "it runs cuGraph's own kernels",
        "DNAConv": "it attends over earlier layers, not over edges",
        "FAConv": "its weights are signed and are not normalised over the edges",
        "GATEConv": "gat has no layer like it",
        "GPSConv": "it attends over all nodes of a graph, not over edges; its `conv` is looked at "
        "by itself",
        "GeneralConv": "gat has no layer like it",
        "HEATConv": "its values depend on the edge",
        "HGTConv": "gat has no layer like it",
        "HypergraphConv": "it attends over hyperedges",
        "PointTransformerConv": "its weights differ for each channel",
    }
)
# Those of them that attend only if this attribute says so.
ONLY_IF = MappingProxyType({"GeneralConv": "attention", "HypergraphConv": "use_attention"})
# The attribute that holds the class a module had before.
MARK = "_gat_class_before"


@dataclass(frozen=True)
class LayerNote:
    """One layer of a report: its name in the model ("" is the model itself), its class, and why."""

    name: str
    layer: str
    why: str = ""

    def __str__(self) -> str:
        shown = f"{self.name or '(the model itself)'}: {self.layer}"
        return f"{shown}, {self.why}" if self.why else shown


@dataclass(frozen=True)
class AccelerateReport:
    """What `accelerate` or `restore` did; ``print`` shows a list.

    done: "accelerated" or "restored". changed: the layers that now have the other class. already:
    the layers that were ours before. left: the attention layers that were not touched, and why.
    A module that stands at several names is told of once, at the first.
    """

    done: str
    changed: tuple[LayerNote, ...] = ()
    already: tuple[LayerNote, ...] = ()
    left: tuple[LayerNote, ...] = ()

    def __str__(self) -> str:
        parts = [(self.done, self.changed), ("already ours", self.already), ("left", self.left)]
        shown = [_listed(title, notes) for title, notes in parts if notes or title == self.done]
        return "\n".join(shown)


def accelerate(model: nn.Module) -> AccelerateReport:
    """Make every PyG attention layer of ``model`` ours, in place, and report it.

    Changed are modules of exactly the classes GATConv, GATv2Conv, ... that `gat.nn` has too, at any
    depth: in containers, wrappers (DataParallel, torch.compile) and models made by ``to_hetero``.
    Results and gradients stay PyG's; ``state_dict``, optimisers and hooks know of no change. A
    compiled model compiles anew. Calling it again changes nothing. Modules that are not registered
    as submodules (in a plain list, say) are not found. In training, dropout draws other entries
    than PyG's does from the same seed.

    Left as they are, with the reason: subclasses with code of their own, layers with methods
    replaced on the instance, other aggregations than the sum, a turned flow on bipartite graphs,
    scripted modules, and attention layers that `gat.nn` has no equal of.

    Raises ArgumentTypeError if ``model`` is no module.
    """
    known = twins()
    changed, already, left = [], [], []
    for name, module in _modules(model):
        note = LayerNote(name, type(module).__name__)
        twin = known.get(type(module))
        if isinstance(module, tuple(known.values())):
            already.append(note)
        elif why := why_left(module, known):
            left.append(LayerNote(name, _class_name(module), why))
        elif twin is not None:
            setattr(module, MARK, type(module))
            _become(module, twin)
            changed.append(note)
    return AccelerateReport("accelerated", tuple(changed), tuple(already), tuple(left))


def restore(model: nn.Module) -> AccelerateReport:
    """Give the layers that `accelerate` changed PyG's classes back, in place, and report it.

    Exactly those: a layer of ours that was made as one stays. Copies and pickles of an accelerated
    model can be restored as well. Left is a layer whose class something else changed since (as
    ``torch.nn.utils.parametrize`` does). Raises ArgumentTypeError if ``model`` is no module.
    """
    known = twins()
    changed, left = [], []
    for name, module in _modules(model):
        before = vars(module).get(MARK)
        if before is None:
            continue
        if type(module) is known.get(before):
            _become(module, before)
            delattr(module, MARK)
            changed.append(LayerNote(name, before.__name__))
        else:
            why = f"its class was changed after it was accelerated; it was {before.__name__}"
            left.append(LayerNote(name, type(module).__name__, why))
    return AccelerateReport("restored", tuple(changed), left=tuple(left))


def _modules(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    if not isinstance(model, nn.Module):
        raise ArgumentTypeError(
            f"model is a {type(model).__name__}; expected a torch.nn.Module, such as a network or "
            f"a layer of PyTorch Geometric"
        )
    return model.named_modules()


def twins() -> dict[type, type]:
    """PyG's classes, and ours of the same name."""
    return {getattr(pyg, name): getattr(gat.nn, name) for name in TWINS}


def why_left(module: nn.Module, known: dict[type, type]) -> str:
    """Why an attention layer stays as it is; "" for one that need not, and for other modules."""
    if isinstance(module, torch.jit.ScriptModule):
        is_attention = _class_name(module) in (*TWINS, *OTHERS)
        return "its code was fixed by torch.jit" if is_attention else ""
    if type(module) in known:
        return _why_not(module)
    for base in type(module).__mro__:
        if base in known:
            return f"a subclass of {base.__name__}, which may have code of its own"
        if base.__name__ in OTHERS and base is _other(base.__name__):
            flag = ONLY_IF.get(base.__name__)
            return OTHERS[base.__name__] if flag is None or getattr(module, flag) else ""
    return ""


def _why_not(module: nn.Module) -> str:
    """Why a layer of one of PyG's own classes stays; "" if nothing stands against it."""
    replaced = [name for name in ("forward", *STEPS, *GENERATED) if _is_replaced(module, name)]
    if replaced:
        return f"its `{replaced[0]}` was replaced on the instance"
    if isinstance(module, pyg.MessagePassing) and module.aggr not in ("add", "sum"):
        return f"it aggregates by {module.aggr!r}, which only PyG's code does"
    flow = getattr(module, "flow", "source_to_target")
    if flow != "source_to_target" and isinstance(getattr(module, "in_channels", None), tuple):
        return (
            f"flow={flow!r} on a bipartite graph: PyG returns a row per sender, ours per receiver"
        )
    return ""


def _is_replaced(module: nn.Module, method: str) -> bool:
    """Whether the instance has a method of its own by this name."""
    if method not in vars(module):
        return False
    # PyG's explanations bind its own two versions of a method to the instance.
    pygs = [getattr(type(module), f"_{kind}_{method}", None) for kind in ("orig", "jinja")]
    return getattr(vars(module)[method], "__func__", module) not in pygs


def _other(name: str) -> type | None:
    return getattr(attentive_fp if name == "GATEConv" else pyg, name, None)


def _class_name(module: nn.Module) -> str:
    is_scripted = isinstance(module, torch.jit.ScriptModule)
    return module.original_name if is_scripted else type(module).__name__  # type: ignore


def _become(module: nn.Module, layer: type) -> None:
    module.__class__ = layer
    # PyG writes methods onto a class when its first instance is made; there may have been none.
    if isinstance(module, pyg.MessagePassing) and "_jinja_propagate" not in layer.__dict__:
        module._set_jittable_templates()


def _listed(title: str, notes: tuple[LayerNote, ...]) -> str:
    if not notes:
        return f"{title} no layers"
    return "\n".join([f"{title} {len(notes)}:", *(f"  {note}" for note in notes)])
