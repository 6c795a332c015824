"""Names for what a layer can be made of, so that an option is a name or an object."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from gat.errors import ArgumentTypeError, InputError

__all__ = ["Registry"]

Part = TypeVar("Part")
Maker = TypeVar("Maker", bound=Callable[..., Any])


class Registry(Generic[Part]):
    """Makers of a ``kind`` of part by name; an object given instead must be a ``base``."""

    def __init__(self, kind: str, base: type[Any]) -> None:
        self.kind, self.base = kind, base
        self.makers: dict[str, Callable[[], Part]] = {}

    def add(self, name: str) -> Callable[[Maker], Maker]:
        """Decorator: call this maker, without arguments, where a layer asks for ``name``."""

        def note(maker: Maker) -> Maker:
            known = self.makers.get(name)
            # The same one again is a notebook's cell run twice.
            if known is not None and _path(known) != _path(maker):
                raise InputError(f"there is a {self.kind} {name!r} already; choose another name")
            self.makers[name] = maker
            return maker

        return note

    def names(self) -> list[str]:
        return sorted(self.makers)

    def make(self, given: "str | Part") -> Part:
        """The part called ``given``, or the object itself."""
        if isinstance(given, str):
            if given not in self.makers:
                raise InputError(
                    f"{self.kind} is {given!r}; expected one of {', '.join(self.names())}, or an "
                    f"object of a class derived from {self.base.__name__}"
                )
            return self.makers[given]()
        if not isinstance(given, self.base):
            raise ArgumentTypeError(
                f"{self.kind} is {given!r}; expected a name ({', '.join(self.names())}) or an "
                f"object of a class derived from {self.base.__name__}"
            )
        return given


def _path(maker: Any) -> tuple[str, str, str]:
    """Where a maker, or what a partial wraps, was defined; and the partial's arguments."""
    arguments = repr(getattr(maker, "keywords", ""))
    wrapped = getattr(maker, "func", maker)
    return wrapped.__module__, wrapped.__qualname__, arguments
