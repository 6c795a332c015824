"""Pages that are rendered from stored results: written, or only compared with what is there."""

import re
from pathlib import Path

from gat.cli.show import say
from gat.errors import InputError

__all__ = ["with_block", "write_pages"]


def with_block(readme: Path, mark: str, block: str) -> str:
    """The text of ``readme`` with ``block`` between its lines <!-- mark --> and <!-- /mark -->."""
    between = re.compile(rf"(<!-- {mark} -->\n).*?(<!-- /{mark} -->)", re.DOTALL)
    old = readme.read_text(encoding="utf-8")
    text, found = between.subn(lambda m: f"{m[1]}{block}\n{m[2]}", old)
    if not found:
        raise InputError(
            f"{readme} has no place for the results; put the lines <!-- {mark} --> and "
            f"<!-- /{mark} --> where the table is to stand"
        )
    return text


def write_pages(texts: dict[Path, str], *, check: bool, command: str) -> None:
    """Write what differs; with ``check`` refuse it instead, naming the command that would."""
    for path, text in texts.items():
        old = path.read_text(encoding="utf-8") if path.is_file() else None
        if old == text:
            say(f"{path} is up to date")
        elif check:
            raise InputError(f"{path} is out of date; run {command}")
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            say(f"wrote {path}")
