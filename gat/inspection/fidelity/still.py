"""A model held still: evaluated without a trace."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from gat.errors import InputError
from gat.inspection.compiled import uncompiled

__all__ = ["held_still"]


@contextmanager
def held_still(model: nn.Module) -> Iterator[None]:
    """The model in eval mode, its parameters without gradients; everything as before afterwards.

    That is every attribute of every module (training flags, what explainers leave on layers),
    which parameters want gradients, their ``.grad``, and torch's generators.
    """
    _refuse_cached(model)
    modules = [(module, dict(vars(module)), dict(module._parameters)) for module in model.modules()]
    wanted = [(one, one.requires_grad, one.grad) for one in model.parameters()]
    devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    try:
        # Every neighbourhood has a size of its own, each of which would be compiled anew.
        with torch.random.fork_rng(devices), uncompiled():
            model.eval()
            model.requires_grad_(False)
            yield
    finally:
        for module, attributes, parameters in modules:
            vars(module).clear()
            vars(module).update(attributes)
            module._parameters.clear()
            module._parameters.update(parameters)
        for parameter, requires_grad, grad in wanted:
            parameter.requires_grad_(requires_grad)
            parameter.grad = grad


def _refuse_cached(model: nn.Module) -> None:
    for name, module in model.named_modules():
        if getattr(module, "cached", False) is True:
            raise InputError(
                f"{name or type(module).__name__} keeps the first graph it sees (cached=True), so "
                f"taking edges out would change nothing; make the layer with cached=False"
            )
