"""Pages that are rendered from stored results: written, or only compared with what is there."""

import re
from functools import partial
from pathlib import Path

from gat.cli.show import say
from gat.errors import InputError

__all__ = ["with_blocks", "write_pages"]


def with_blocks(readme: Path, blocks: dict[str, str]) -> str:
    """The text of ``readme`` with each block between its lines <!-- mark --> and <!-- /mark -->,
    which a block without text does without."""
    text = readme.read_text(encoding="utf-8")
    for mark, block in blocks.items():
        between = re.compile(rf"(<!-- {mark} -->\n).*?(<!-- /{mark} -->)", re.DOTALL)
        text, found = between.subn(partial(_filled, block), text)
        if block and not found:
            raise InputError(
                f"{readme} has no place for the results; put the lines <!-- {mark} --> and "
                f"<!-- /{mark} --> where the table is to stand"
            )
    return text


def _filled(block: str, place: re.Match[str]) -> str:
    return f"{place[1]}{block}\n{place[2]}" if block else f"{place[1]}{place[2]}"


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
