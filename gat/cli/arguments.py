"""How single values are asked for and read on the command line, for every sub-command."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import arg
from tyro.constructors import PrimitiveConstructorSpec

__all__ = ["NUMBER", "WHOLE", "File", "Folder", "Names", "given"]


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

# "gat,pyg": several names in one argument.
Names = Annotated[
    tuple[str, ...],
    PrimitiveConstructorSpec(
        nargs=1,
        metavar="NAME,NAME",
        instance_from_str=lambda texts: tuple(
            name.strip() for name in texts[0].split(",") if name.strip()
        ),
        is_instance=lambda value: isinstance(value, tuple),
        str_from_instance=lambda value: [",".join(value)],
    ),
]
