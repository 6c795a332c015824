"""Numbers and names as sentences have them, and tables as a report writes them, in Markdown."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from gat.inspection.record import AttentionRecord

__all__ = [
    "called",
    "counted",
    "escaped",
    "head_name",
    "interval",
    "number",
    "share",
    "shown",
    "table",
]


def called(node: int, names: Sequence[str] | None) -> str:
    """A node in a sentence: "node 42", or by its name: "Alice (node 42)"."""
    return f"node {node}" if names is None else f"{names[node]} (node {node})"


def shown(path: str, layer: nn.Module) -> str:
    """A layer in a sentence: its name in the model and its class."""
    kind = type(layer).__name__
    return f"{path} ({kind})" if path else kind


def counted(count: int, what: str) -> str:
    """A number of things in words: "1 head", "8 heads"."""
    return f"{count:,} {what}" + ("" if count == 1 else "s")


def head_name(record: AttentionRecord, head: int | None) -> str:
    """Whose weights they are: "head 2", or for None, "the mean of 4 heads"."""
    if head is None and record.num_heads > 1:
        return f"the mean of {record.num_heads} heads"
    number = record.heads[0] if head is None else head
    return f"head {number}" if number >= 0 else "the mean of the heads"


def interval(mean: float, low: float, high: float) -> str:
    """A mean with its interval in brackets, if there is one."""
    ends = "" if math.isnan(low) else f" ({low:z.3f} to {high:z.3f})"
    return f"{mean:z.3f}{ends}"


def number(value: Any) -> str:
    """Two digits; a dash where there is no number."""
    return "–" if math.isnan(float(value)) else f"{float(value):.2f}"


def share(value: Any) -> str:
    """Per cent; a dash where there is no number."""
    if value is None or torch.as_tensor(value).isnan():
        return "–"
    return f"{100 * float(value):.0f} %"


def table(header: Sequence[object], rows: Sequence[Sequence[object]]) -> str:
    """A table in Markdown."""
    lines = [map(escaped, header), ["---"] * len(header), *(map(escaped, row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def escaped(value: object) -> str:
    """Text that is one line, ends no cell of a table and starts no markup of HTML's."""
    text = " ".join(str(value).split()).replace("\\", "\\\\").replace("|", "\\|")
    return text.replace("<", "&lt;").replace(">", "&gt;")
