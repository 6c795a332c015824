"""Reading a configuration from TOML or JSON, and writing one back."""

import json
import math
import re
import tomllib
from pathlib import Path
from typing import Any

from gat.errors import ConfigError, InputError
from gat.train.kinds import Config, read_config

__all__ = ["dump_toml", "load_config", "save_config"]

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def load_config(path: str | Path) -> Config:
    """The configuration in a ``.toml`` or ``.json`` file; keys left out have their defaults."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: the configuration cannot be read ({error})") from None
    try:
        values = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except ValueError as error:
        kind = "JSON" if path.suffix == ".json" else "TOML"
        raise ConfigError(f"{path}: not valid {kind}: {error}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected a table of settings, got {type(values).__name__}")
    try:
        return read_config(values)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def save_config(config: Config, path: str | Path) -> None:
    """Write the resolved configuration as TOML or JSON, by the file's ending."""
    path = Path(path)
    values = config.to_dict()
    text = json.dumps(values, indent=2) + "\n" if path.suffix == ".json" else dump_toml(values)
    path.write_text(text, encoding="utf-8")


def dump_toml(values: dict[str, Any]) -> str:
    """``values`` (None, bool, numbers, strings, lists, nested dicts) as TOML; None is left out.

    The standard library reads TOML and does not write it; our few types need no library.
    """
    return "\n".join(_table(values, ())).strip() + "\n"


def _table(values: dict[str, Any], path: tuple[str, ...]) -> list[str]:
    lines = [f"[{'.'.join(map(_key, path))}]"] if path else []
    plain = {k: v for k, v in values.items() if v is not None and not isinstance(v, dict)}
    lines += [f"{_key(k)} = {_value(v)}" for k, v in plain.items()]
    lines.append("")
    for key, value in values.items():
        if isinstance(value, dict):
            lines += _table(value, (*path, key))
    return lines


def _key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _value(key)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else ("inf" if value > 0 else "-inf")
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, str):
        # JSON's escapes are TOML's, but for DEL, which TOML wants escaped too.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")
    return str(value)
