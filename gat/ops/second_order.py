"""Gradients of gradients, for implementations whose own backward pass cannot be differentiated.

An autograd function that is asked for a differentiable gradient (``create_graph=True``: grad mode
is then on in its backward) recomputes through something that can: a formula in plain torch.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

__all__ = ["aliases", "gradients"]

Outputs = Tensor | Sequence[Tensor | None]


def aliases(inputs: Sequence[Tensor | None]) -> list[Tensor | None]:
    """A view of each input that requires grad, in its graph but with an identity of its own.

    The same tensor may be passed as two arguments; the gradient of each must be told apart.
    """
    with torch.enable_grad():
        return [
            tensor if tensor is None or not tensor.requires_grad else tensor.view_as(tensor)
            for tensor in inputs
        ]


def gradients(
    run: Callable[..., Outputs],
    inputs: Sequence[Tensor | None],
    incoming: Sequence[Tensor | None],
    *,
    create_graph: bool = True,
) -> list[Tensor | None]:
    """The gradient of each input of ``run(*inputs)``, None where none is needed.

    ``incoming``: the gradient of each output of ``run``, None for one that was not used. With
    ``create_graph`` the result is differentiable by the inputs and by ``incoming``.
    """
    again = aliases(inputs)
    with torch.enable_grad():
        outputs = run(*again)
    outputs = [outputs] if isinstance(outputs, Tensor) else outputs
    used = [
        (out, grad)
        for out, grad in zip(outputs, incoming, strict=True)
        if out is not None and grad is not None and out.requires_grad
    ]
    wanted = [tensor for tensor in again if tensor is not None and tensor.requires_grad]
    if not used or not wanted:
        return [None] * len(again)
    outs, grads = zip(*used, strict=True)
    found = torch.autograd.grad(outs, wanted, grads, create_graph=create_graph, allow_unused=True)
    by_input = iter(found)
    return [
        None if tensor is None or not tensor.requires_grad else next(by_input) for tensor in again
    ]
