"""How single values are asked for and read on the command line, for every sub-command."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import arg
from tyro.constructors import PrimitiveConstructorSpec

__all__ = ["NUMBER", "WHOLE", "Counts", "File", "Folder", "Names", "given"]


def given(metavar: str | None, hint: str = "") -> Any:
    """What help shows for an argument's value and for its default."""
    return arg(metavar=metavar, help_behavior_hint=hint)


def _parsed(convert: Callable[[str], Any], expected: str) -> PrimitiveConstructorSpec[Any]:
    """How tyro is to read one value; its own sentence for ``int | None`` speaks of types."""

    def read(texts: list[str]) -> Any:
        try:
            return convert(texts[0])
        except ValueError:
            raise ValueError(f"expected {expected}, got {texts[0]!r}") from None

    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="N",
        instance_from_str=read,
        is_instance=lambda value: value is None or isinstance(value, int | float),
        str_from_instance=lambda value: [str(value)],
    )


WHOLE = _parsed(int, "a whole number")
NUMBER = _parsed(float, "a number")
Folder = Annotated[Path | None, given("DIR")]
File = Annotated[Path | None, given("FILE")]


def _several(convert: Callable[[str], Any], metavar: str) -> PrimitiveConstructorSpec[Any]:
    """Several values in one argument, "gat,pyg"."""
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=metavar,
        instance_from_str=lambda texts: tuple(
            convert(text.strip()) for text in texts[0].split(",") if text.strip()
        ),
        is_instance=lambda value: isinstance(value, tuple),
        str_from_instance=lambda value: [",".join(map(str, value))],
    )


Names = Annotated[tuple[str, ...], _several(str, "NAME,NAME")]
Counts = Annotated[tuple[int, ...], _several(int, "N,N")]
