"""Pruned models as files: safetensors, with all it takes to make the model again as metadata."""

import copy
import json
import os
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor, nn

from gat.errors import ArgumentTypeError, CheckpointMismatchError, CorruptDataError, InputError
from gat.inspection.files import write_whole
from gat.inspection.pruning.heads import PRUNED, prune_heads
from gat.models import GAT

__all__ = ["load_pruned", "save_pruned"]

FORMAT = 1
# Its name in the file's metadata.
ENTRY = "gat_pruned"


def save_pruned(model: nn.Module, path: str | os.PathLike[str]) -> Path:
    """Write a model, as `prune_heads` made it, to one safetensors file; `load_pruned` reads it.

    The file has the ``state_dict``, which heads were removed, and of a `gat.models.GAT` the options
    that make it. It is there whole or not at all. Returns its path.

    Raises InputError for a model that is neither a GAT nor pruned, and for a file that cannot be
    written.
    """
    steps = vars(model).get(PRUNED)
    if steps is None and type(model) is not GAT:
        raise InputError(
            f"{type(model).__name__} was not made by prune_heads, so that its file would not say "
            f"how to make it again; save its state_dict"
        )
    meta = {
        "format": FORMAT,
        "pruned": steps or [],
        "options": _options(model) if type(model) is GAT else None,
    }
    # Copies, since safetensors refuses tensors that share memory.
    tensors = {k: v.detach().clone().cpu().contiguous() for k, v in model.state_dict().items()}
    data = safetensors.torch.save(tensors, {"format": "pt", ENTRY: json.dumps(meta)})
    path = Path(path)
    write_whole(path, data)
    return path


def load_pruned(path: str | os.PathLike[str], model: nn.Module | None = None) -> nn.Module:
    """The model of a file that `save_pruned` wrote, on the CPU, in evaluation mode.

    model: for anything but a `gat.models.GAT` a model as it was before its heads were removed, of
    whatever weights; it stays as it is. Nothing in the file is run.

    Raises CorruptDataError for a file that is none of `save_pruned`'s, InputError where ``model``
    is needed, CheckpointMismatchError where it does not fit.
    """
    meta, tensors = _read(Path(path))
    if model is not None:
        if not isinstance(model, nn.Module):
            raise ArgumentTypeError(
                f"model is a {type(model).__name__}; expected a torch.nn.Module"
            )
        smaller = copy.deepcopy(model)
        for step in meta["pruned"]:
            smaller = prune_heads(smaller, step["heads"], following=step.get("following"))
    elif meta["options"] is None:
        raise InputError(
            f"{path} is of a model that is no gat.models.GAT; pass model=, one as it was before "
            f"its heads were removed"
        )
    else:
        smaller = GAT(**meta["options"])
        smaller.__dict__[PRUNED] = meta["pruned"]
    dtypes = {t.dtype for t in tensors.values() if t.is_floating_point()}
    smaller = smaller.to(dtypes.pop()) if len(dtypes) == 1 else smaller
    try:
        smaller.load_state_dict(tensors)
    except RuntimeError as error:
        raise CheckpointMismatchError(f"{path} does not fit the model: {error}") from None
    return smaller.eval()


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        with safetensors.safe_open(path, "pt") as file:
            meta = json.loads((file.metadata() or {})[ENTRY])
            tensors = {name: file.get_tensor(name) for name in list(file.keys())}
        if meta["format"] != FORMAT:
            raise ValueError(f"format {meta['format']}, expected {FORMAT}")
        return {"pruned": meta["pruned"], "options": meta["options"]}, tensors
    except FileNotFoundError:
        raise InputError(f"{path} is not there; save_pruned writes such files") from None
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise CorruptDataError(f"{path} is no file of save_pruned: {error!r}") from None


def _options(model: GAT) -> dict[str, Any]:
    """The options that make a GAT of these sizes."""
    convs: list[Any] = [layer.conv for layer in model.hidden]
    options = {**model.options, "heads": [conv.heads for conv in convs]}
    if not isinstance(model.output, nn.Linear):
        options["output_heads"] = model.output.heads
    return options
