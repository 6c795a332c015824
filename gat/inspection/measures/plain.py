"""Results as what JSON knows."""

import dataclasses
import math
from typing import Any

from torch import Tensor

__all__ = ["plain"]


def plain(value: Any) -> Any:
    """``value`` of dataclasses, tensors and numbers as dicts, lists and numbers; None for NaN."""
    if dataclasses.is_dataclass(value):
        return {one.name: plain(getattr(value, one.name)) for one in dataclasses.fields(value)}
    if isinstance(value, Tensor):
        return plain(value.tolist())
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
