"""Hearing the attention of a model's layers while it runs, without the model noticing.

How each kind of layer is made to tell: `asking_ears.py` and `silent_ears.py`.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from torch import nn

from gat.inspection.compiled import uncompiled
from gat.inspection.recording.ears import KEYWORD, Heard, signature_of
from gat.inspection.recording.silent_ears import ear_for, tells_without_asking

__all__ = ["attention_layers", "listening"]


def attention_layers(model: nn.Module) -> dict[str, nn.Module]:
    """The layers whose attention can be heard, by name: the innermost modules that take
    ``return_attention_weights``, and those of PyG's that keep it to themselves.

    A layer with PyG's ``explain=False`` is left out.
    """
    able = {path: module for path, module in model.named_modules() if _can_be_heard(module)}
    heard = set(able.values())
    outer = {
        path
        for path, module in able.items()
        if any(part is not module and part in heard for part in module.modules())
    }
    return {
        path: module
        for path, module in able.items()
        if path not in outer and getattr(module, "explain", None) is not False
    }


def _can_be_heard(module: nn.Module) -> bool:
    signature = signature_of(module)
    asks = signature is not None and KEYWORD in signature.parameters
    return asks or tells_without_asking(module)


@contextmanager
def listening(
    layers: dict[str, nn.Module], when: str, hear: Callable[[Heard], None]
) -> Iterator[None]:
    """Inside the block ``hear`` is called with what each layer attends over, as the model runs.

    when: "before_dropout" or "after_dropout". The layers' outputs and random numbers stay what
    they are without.
    """
    with ExitStack() as stack:
        stack.enter_context(uncompiled())
        for path, layer in layers.items():
            stack.enter_context(ear_for(path, layer, when, hear).open())
        yield
