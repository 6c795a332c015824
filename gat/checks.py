"""Options refused in words, the same everywhere."""

from collections.abc import Iterable
from typing import Any

from gat.errors import InputError

__all__ = ["check_sizes", "one_of"]


def one_of(name: str, given: Any, known: Iterable[Any]) -> Any:
    """``given`` if it is a known value of the option ``name``; else InputError listing them."""
    # By type too: 1 is no True.
    if not any(type(given) is type(value) and given == value for value in known):
        raise InputError(f"{name} is {given!r}; expected one of {', '.join(map(repr, known))}")
    return given


def check_sizes(**sizes: int | None) -> None:
    """Refuse numbers, by name, below 1; None is none given."""
    for name, size in sizes.items():
        if size is not None and size < 1:
            raise InputError(f"{name} is {size}; expected 1 or more")
