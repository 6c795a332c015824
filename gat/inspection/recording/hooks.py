"""Hooks that belong to one module: its copies, made while they are on, do without them."""

from collections.abc import Callable
from typing import Any

__all__ = ["Hook"]


class Hook:
    """A function as a hook. Copied or pickled with its module it does nothing: nobody would take
    it off there, and what it tells would be taken for the original's."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._function(*args, **kwargs)

    def __reduce__(self) -> Any:
        return Hook, (_nothing,)


def _nothing(*_: Any, **__: Any) -> None:
    pass
