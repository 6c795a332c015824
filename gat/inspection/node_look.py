"""What one node looks at, its neighbours one by one: the part of a report about one node."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from gat.errors import InputError
from gat.inspection.attribution import gatt
from gat.inspection.record import AttentionRecord, in_order
from gat.inspection.words import called, escaped, share, table

__all__ = ["NodeLook", "look_at"]

# So many neighbours are listed; a hub has hundreds.
MOST_NEIGHBOURS = 20


@dataclass(frozen=True, eq=False)
class NodeLook:
    """What one node looks at.

    node: its number; name: what it is called in a sentence. rows: (neighbour, its class, weight by
    layer, share of its computation tree (`gatt`; None where that is not known)), the most attended
    first; left_out: how many more there are.
    """

    node: int
    name: str
    layers: Sequence[str]
    rows: Sequence[tuple[str, str, Sequence[float], float | None]]
    left_out: int

    def markdown(self) -> str:
        """The section about the node."""
        title = f"## What {escaped(self.name)} looks at"
        if not self.rows:
            return f"{title}\n\nNo edge enters it, so there is nothing to attend to."
        header = ["neighbour", "class", *self.layers, "over all layers"]
        rows = [
            [name, label, *(share(weight) for weight in weights), share(score)]
            for name, label, weights, score in self.rows
        ]
        more = f"\n\n{self.left_out} more neighbours are not listed." if self.left_out else ""
        return (
            f"{title}\n\n{table(header, rows)}{more}\n\n"
            f"Weights are means over heads. 'Over all layers' is the share of the edge among all "
            f"edges by which messages reach the node, wherever it takes part (GAtt, arXiv "
            f"2406.04612); what is missing to 100 % is with edges not listed here."
        )

    def to_dict(self) -> dict[str, Any]:
        """The same for JSON."""
        keys = ("neighbour", "class", "weights", "gatt")
        return {
            "node": self.node,
            "name": self.name,
            "layers": list(self.layers),
            "neighbours": [
                dict(zip(keys, (name, label, list(weights), score), strict=True))
                for name, label, weights, score in self.rows
            ],
            "left_out": self.left_out,
        }


def look_at(
    attention: Any,
    node: int,
    y: Tensor | None = None,
    names: Sequence[str] | None = None,
    class_names: Sequence[str] | None = None,
) -> NodeLook:
    """What ``node`` looks at in every layer of ``attention``; arguments as in `report`."""
    records = in_order(attention)
    scores = _gatt(records, node)
    found: dict[Any, list[float]] = {}
    for number, record in enumerate(records):
        for one in record.neighbours(node):
            weights = found.setdefault((one.node, one.edge), [0.0] * len(records))
            weights[number] = float(one.weights.mean())
    order = sorted(found, key=lambda key: -sum(found[key]))
    rows = []
    for sender, edge in order[:MOST_NEIGHBOURS]:
        name = str(sender) if names is None else f"{names[sender]} ({sender})"
        name += " (itself)" if sender == node else ""
        score = None
        if scores is not None:
            score = float(scores.loops[node] if edge is None else scores.edges[edge]) / len(records)
        rows.append((name, _label(sender, y, class_names), found[sender, edge], score))
    layers = [record.name for record in records]
    return NodeLook(node, called(node, names), layers, rows, len(order) - len(rows))


def _label(node: int, y: Tensor | None, class_names: Sequence[str] | None) -> str:
    label = -1 if y is None or y.dim() != 1 else int(y[node])
    if label < 0:
        return "–"
    return str(label) if class_names is None else class_names[label]


def _gatt(records: list[AttentionRecord], node: int) -> Any:
    """GAtt's scores; None where layers attend over different edges or were recorded in part."""
    if any(record.edge_id is not None for record in records):
        return None
    try:
        return gatt(records, node)
    except InputError:
        return None
