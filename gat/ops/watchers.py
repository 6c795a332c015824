"""Who looks at a call: transforms, modes, traces, tensor subclasses. They must see torch's own
operators, so an implementation that would go past them asks here first."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

__all__ = ["is_batched", "is_plain", "is_transformed"]


def is_plain(tensors: Sequence[Tensor | None]) -> bool:
    """Whether a kernel may have the tensors as they are: no subclass, and nobody who watches."""
    watched = torch._C._len_torch_dispatch_stack() > 0 or torch.jit.is_tracing()
    return not watched and all(
        tensor is None or type(tensor) in (Tensor, nn.Parameter) for tensor in tensors
    )


def is_transformed() -> bool:
    """Whether torch.func or forward-mode AD is at work, which must see torch's own operations."""
    return (
        torch._C._functorch.peek_interpreter_stack() is not None or forward_ad._current_level >= 0
    )


def is_batched(*grads: Tensor | None) -> bool:
    """Whether several gradients come at once, as ``is_grads_batched`` asks for them."""
    return torch._C._functorch.peek_interpreter_stack() is not None or any(
        grad is not None and torch._C._functorch.is_legacy_batchedtensor(grad) for grad in grads
    )
