"""Weights from elsewhere: state dicts of older PyTorch Geometrics and of DGL, for our layers and
PyG's.

A state dict is first rewritten, layer by layer, into the names of today (`gat.nn.weight_names`);
then checked as a whole; and only if everything fits is it loaded.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch_geometric.nn as pyg
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from gat.errors import ArgumentTypeError, CheckpointMismatchError
from gat.nn.weight_names import Entries, is_same, of_dgl, of_pyg

__all__ = ["load_dgl_state_dict", "load_pyg_state_dict"]


def load_pyg_state_dict(
    module: nn.Module, state_dict: Mapping[str, Any], strict: bool = True
) -> Any:
    """Load a state dict of PyG 1.6 or newer into ``module``, a layer or a model, PyG's or ours.

    GATConv's weights had other names: ``att_l``, ``att_r`` with ``lin_l``, ``lin_r`` (PyG 1.6 and
    1.7: l the source, r the target), then ``att_src``, ``att_dst`` with ``lin_src``, ``lin_dst``
    (2.0 to 2.4), then ``lin`` for the two where they are one (2.5). Each is understood wherever
    the module has a GATConv; all other names must be the module's.

    strict: as in ``load_state_dict``: False leaves out what is missing or unexpected, and returns
    it, as torch does. Wrong shapes are refused either way.

    A state dict does not say how its layer was made: check ``add_self_loops``, ``negative_slope``,
    ``concat`` with one head, dropout and ``flow`` yourself.

    Raises CheckpointMismatchError, and then has loaded nothing, if names or shapes differ, or where
    a layer that projects sources and targets alike is given two projections.
    """
    return _load(module, state_dict, strict, of_pyg)


def load_dgl_state_dict(
    module: nn.Module,
    state_dict: Mapping[str, Any],
    strict: bool = True,
    *,
    identity_residual: bool = False,
) -> Any:
    """Load a state dict of DGL's GATConv or GATv2Conv, or of a model of them, into ``module``.

    ``module`` has PyG's or our layers under the names that DGL's have in the state dict.
    GATConv: ``fc`` is ``lin``; ``fc_src``, ``fc_dst`` are ``lin_src``, ``lin_dst``; ``attn_l``
    weighs the source, ``attn_r`` the target; ``res_fc`` is ``res`` and its bias part of ``bias``.
    GATv2Conv: ``fc_src``, ``fc_dst`` are ``lin_l``, ``lin_r``; ``attn`` is ``att``; DGL has no bias
    after the sum but ``res_fc``'s, so that ``bias`` is that or 0. DGL returns [N, H, C]: a
    layer with ``concat=True`` gives it flattened, one with ``concat=False`` its mean over heads.

    strict: as for `load_pyg_state_dict`. identity_residual: DGL's residual is the identity, without
    a parameter, where widths are equal. True puts that identity into ``res`` of the layers made
    with ``residual=True`` that have no ``res_fc`` in the state dict. (A layer of more than one head
    that is fed C channels adds them to each head, as older DGLs do.)

    What a state dict cannot say: DGL adds no self-loops, so make layers with
    ``add_self_loops=False`` or leave the loops out of the graph; an identity residual leaves no
    trace, so that a layer made without ``residual`` loads too; ``negative_slope``; the activation,
    which DGL's layer applies before heads are averaged; ``feat_drop``, which has no equal here.

    Raises CheckpointMismatchError, and then has loaded nothing, if names or shapes differ, where a
    residual is missing, or where weights the module shares differ.
    """

    def translate(layer: nn.Module, entries: Entries) -> Entries:
        return of_dgl(layer, entries, identity_residual)

    return _load(module, state_dict, strict, translate)


def _load(
    module: nn.Module,
    state_dict: Mapping[str, Any],
    strict: bool,
    translate: Callable[[nn.Module, Entries], Entries],
) -> Any:
    if not isinstance(state_dict, Mapping):
        raise ArgumentTypeError(
            f"state_dict is a {type(state_dict).__name__}; expected names and tensors, as "
            f"module.state_dict() gives them"
        )
    entries = {name: (name, value) for name, value in state_dict.items()}
    for name, layer in module.named_modules(remove_duplicate=False):
        if isinstance(layer, pyg.GATConv | pyg.GATv2Conv):
            _rewrite(entries, f"{name}." if name else "", layer, translate)
    problems = list(_problems(module, entries, strict))
    if problems:
        raise CheckpointMismatchError(
            f"the state_dict does not fit {type(module).__name__}: {'; '.join(problems)}; nothing "
            f"was loaded. Make the layers with the sizes and options they were trained with"
        )
    weights = OrderedDict((name, value) for name, (_, value) in entries.items())
    weights._metadata = getattr(state_dict, "_metadata", None)  # type: ignore[attr-defined]
    return module.load_state_dict(weights, strict=strict)


def _rewrite(
    entries: Entries, prefix: str, layer: nn.Module, translate: Callable[..., Entries]
) -> None:
    """Put today's names in place of those that start with ``prefix``."""
    own = [name for name in entries if name.startswith(prefix)]
    of_layer = {name.removeprefix(prefix): entries.pop(name) for name in own}
    for name, entry in translate(layer, of_layer).items():
        entries[prefix + name] = entry


def _problems(module: nn.Module, entries: Entries, strict: bool) -> Iterator[str]:
    own = module.state_dict(keep_vars=True)
    if strict and (missing := own.keys() - entries.keys()):
        yield f"missing {', '.join(sorted(missing))}"
    if strict and (unexpected := entries.keys() - own.keys()):
        yield f"unexpected {', '.join(sorted(entries[name][0] for name in unexpected))}"
    seen: dict[int, str] = {}
    for name in (name for name in own if name in entries):
        source, value = entries[name]
        yield from _wrong_shape(module, name, own[name], source, value)
        first = seen.setdefault(id(own[name]), name) if isinstance(own[name], Tensor) else name
        if not is_same(value, entries[first][1]):
            yield f"{entries[first][0]} and {source} differ, but the module shares them"


def _wrong_shape(module: nn.Module, name: str, ours: Any, source: str, value: Any) -> Iterator[str]:
    if not isinstance(ours, Tensor) or is_lazy(value):
        return
    if not isinstance(value, Tensor):
        yield f"{source} is a {type(value).__name__}, expected a tensor"
        return
    if is_lazy(ours):
        # The number of inputs is not known yet; that of outputs is.
        owner = module.get_submodule(name.rpartition(".")[0])
        rows = getattr(owner, "out_channels", value.size(0) if value.dim() else 0)
        if value.dim() != 2 or value.size(0) != rows:
            yield f"{source} is {list(value.shape)}, expected [{rows}, inputs]"
    elif ours.shape != value.shape:
        yield f"{source} is {list(value.shape)}, expected {list(ours.shape)}"
