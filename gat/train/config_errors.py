"""The base of every configuration table, and the sentences said when one is refused.

pydantic does the checking; this module only turns what it found into lines that name the key by
its whole path, what was expected, what came, and, for an unknown key, the known ones.
"""

import difflib
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from gat.errors import ConfigError

__all__ = ["Problem", "RefusedConfig", "Section", "unknown_key"]

Problem = tuple[tuple[str, ...], str]


class RefusedConfig(ConfigError):
    """A ConfigError that still knows its problems, so that an enclosing table can add its name."""

    def __init__(self, problems: list[Problem]):
        self.problems = problems
        lines = [f"{'.'.join(path)}: {text}" if path else text for path, text in problems]
        head = "configuration refused: "
        super().__init__(head + (lines[0] if len(lines) == 1 else "\n  ".join(["", *lines])))


class Section(BaseModel):
    """One table of a configuration: frozen, strict about types, unknown keys refused.

    Construction raises :class:`gat.errors.ConfigError` (a ValueError) rather than pydantic's own
    error; the message names the key's path, e.g. ``optimizer.lr``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, validate_default=True)

    def __init__(self, /, **values: Any):
        try:
            super().__init__(**values)
        except ValidationError as error:
            problems = [p for e in error.errors() for p in _problems(e, type(self))]
            raise RefusedConfig(problems) from None


def _problems(error: Any, section: type[BaseModel]) -> list[Problem]:
    path, context = _path(error["loc"], section), error.get("ctx", {})
    inner = context.get("error")
    if isinstance(inner, RefusedConfig):
        return [(path + inner_path, text) for inner_path, text in inner.problems]
    if error["type"] == "extra_forbidden":
        return [(path, unknown_key(path[-1], list(section.model_fields)))]
    if error["type"] == "value_error":
        return [(path, str(inner))]
    if error["type"] in ("model_type", "model_attributes_type"):
        return [(path, f"expected a table of settings, got {_shown(error['input'])}")]
    if error["type"].startswith("union_tag"):
        # One of several tables is meant, and its key tells which.
        key = context["discriminator"].strip("'")
        if "tag" not in context:
            return [((*path, key), f"missing; it tells which table of {path[-1]} is meant")]
        return [((*path, key), f"expected {context['expected_tags']}, got {context['tag']!r}")]
    text = error["msg"].replace("Input should be", "expected")
    return [(path, f"{text}, got {_shown(error['input'])}")]


def _path(places: tuple[Any, ...], section: type[BaseModel]) -> tuple[str, ...]:
    """The key by its tables; where one of several tables is meant, without that one's name."""
    path = tuple(map(str, places))
    field = section.model_fields.get(path[0]) if path else None
    tagged = field is not None and field.discriminator is not None
    return path[:1] + path[2:] if tagged else path


def unknown_key(key: str, known: list[str]) -> str:
    """What is said of a key that does not exist: near misses first, then all the known ones."""
    near = difflib.get_close_matches(key, known, n=2, cutoff=0.6)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    return f"unknown key; {hint}known keys: {', '.join(sorted(known))}"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
