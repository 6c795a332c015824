"""The report: what a model's attention does and whether it means anything, in words and numbers.

`report` gathers it; a `Report` is written as Markdown for people and as a dict for JSON. It says
nothing that the measures (`gat.inspection.measures`), their verdicts and `faithfulness` do not.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from gat.errors import InputError
from gat.inspection.attribution import gatt
from gat.inspection.fidelity import Faithfulness, MethodFaithfulness
from gat.inspection.measures import LayerMeasures, Measures, measure
from gat.inspection.record import Attention, AttentionRecord, in_order
from gat.inspection.verdict import Verdict, summary, verdicts

__all__ = ["Report", "counted", "report"]

# So many neighbours are listed; a hub has hundreds.
MOST_NEIGHBOURS = 20

READING = """\
For every edge that enters a node, each **head** of an attention layer works out a weight; the
weights of one node sum to 1 (its own weight on itself included, if the layer adds that edge). They
say how much of each neighbour the layer mixes into the node, not why, and not what the next layer
makes of it.

- **Effective neighbours**: over how many edges the weights are spread, exp(entropy). Of 5 edges: 5
  is a perfectly even spread, 1 is all on one edge.
- **On itself**: the share a node keeps for itself, beside the share that an even spread would leave
  it.
- **Own class**: the share of attention on neighbours of the node's own class, beside the share of
  such neighbours among all, over nodes that have neighbours of both kinds. If they are equal, the
  head does not tell classes apart; the neighbourhood does.
- Nodes with one edge have no choice and are left out of all means.\
"""

CHECKING = """\
Weights are one thing, what a prediction depends on another. To see whether they agree, edges are
taken from a node's neighbourhood in the order a method ranks them, and the probability of the
predicted class is followed. **Deletion** takes the highest ranked first: faithful ranks make the
probability fall fast, a small area. **Insertion** puts them into the graph without edges: faithful
ranks make it rise fast, a large area. **Random** order is what any method has to beat; in brackets
are confidence intervals over nodes.\
"""


@dataclass(frozen=True, eq=False)
class Report:
    """What `report` found. facts: lines for the head of the report; summary: a sentence or two for
    each layer; node: what one node looks at, if one was asked for; even: what becomes of the model
    when all attention is made even, in a sentence."""

    title: str
    facts: Mapping[str, Any]
    measures: Measures
    verdicts: Sequence[Verdict]
    summary: Sequence[str]
    faithfulness: Faithfulness | None = None
    node: "NodeLook | None" = None
    even: str | None = None

    def markdown(self, pictures: Mapping[str, str] | None = None) -> str:
        """The report as Markdown. pictures: their files' paths as the report is to link them, by
        the title each stands under."""
        parts = [f"# {self.title}", _facts(self.facts), "## In short", *self._in_short()]
        if self.node is not None:
            parts.append(self.node.markdown())
        parts += ["## How to read the numbers", READING, "## Layer by layer"]
        parts += [self._layer(layer) for layer in self.measures.values()]
        if self.faithfulness is not None:
            parts += ["## Does it mean anything?", CHECKING, _faithfulness(self.faithfulness)]
        if pictures:
            parts.append("## Pictures")
            parts += [f"### {title}\n\n![{title}]({path})" for title, path in pictures.items()]
        return "\n\n".join(parts) + "\n"

    def to_dict(self) -> dict[str, Any]:
        """The same of what JSON knows; None where there is no number."""
        return {
            "title": self.title,
            "facts": dict(self.facts),
            "summary": list(self.summary),
            "verdicts": [one.to_dict() for one in self.verdicts],
            "measures": self.measures.to_dict()["layers"],
            "faithfulness": None if self.faithfulness is None else self.faithfulness.to_dict(),
            "node": None if self.node is None else self.node.to_dict(),
            "even": self.even,
        }

    def _in_short(self) -> list[str]:
        lines = [f"- {sentence}" for sentence in self.summary]
        if self.even is not None:
            lines.append(f"- {self.even}")
        if self.faithfulness is not None and "attention" in self.faithfulness:
            lines.append(f"- {_in_a_sentence(self.faithfulness['attention'])}")
        return ["\n".join(lines)]

    def _layer(self, layer: LayerMeasures) -> str:
        said = [one for one in self.verdicts if one.layer == layer.layer]
        sentences = "\n".join(f"- {one.sentence}" for one in said)
        return (
            f"### {layer.layer} ({layer.layer_type}, {counted(len(layer.heads), 'head')})\n\n"
            f"{_heads_table(layer, said)}\n\n{sentences}\n\n{_degrees_table(layer)}"
        )


@dataclass(frozen=True, eq=False)
class NodeLook:
    """What one node looks at: rows of (edge, neighbour, label, weight by layer, GAtt score), the
    most attended first; ``left_out`` of them are not listed."""

    node: int
    name: str
    layers: Sequence[str]
    rows: Sequence[tuple[str, str, Sequence[float], float | None]]
    left_out: int

    def markdown(self) -> str:
        """The section about the node."""
        header = ["neighbour", "class", *self.layers, "over all layers"]
        rows = [
            [name, label, *(_share(weight) for weight in weights), _share(score)]
            for name, label, weights, score in self.rows
        ]
        more = f"\n\n{self.left_out} more neighbours are not listed." if self.left_out else ""
        return (
            f"## What node {self.name} looks at\n\n{_table(header, rows)}{more}\n\n"
            f"Weights are means over heads. 'Over all layers' counts every way in which the "
            f"neighbour's edge takes part in the node's result (GAtt, arXiv 2406.04612)."
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


def report(
    attention: Attention | Sequence[AttentionRecord] | AttentionRecord,
    y: Tensor | None = None,
    *,
    title: str = "What the attention looks at",
    facts: Mapping[str, Any] | None = None,
    faithfulness: Faithfulness | None = None,
    node: int | None = None,
    names: Sequence[str] | None = None,
    class_names: Sequence[str] | None = None,
    even: str | None = None,
) -> Report:
    """Measure ``attention`` and put all that is known into one report.

    y: int64 [N], -1 unknown; without it nothing is said of classes. facts: shown at the head.
    faithfulness: what `gat.inspection.faithfulness` found, if it was asked. node: look at this one
    closely. names: of the nodes [N]; class_names: of the classes. even: a sentence on the model
    under `uniform_attention`.
    """
    measures = measure(attention, y)
    look = None
    if node is not None:
        look = _look(attention, node, _Labels(y, names, class_names))
    return Report(
        title,
        facts or {},
        measures,
        verdicts(measures),
        summary(measures),
        faithfulness,
        look,
        even,
    )


@dataclass(frozen=True)
class _Labels:
    """How nodes are called."""

    y: Tensor | None
    names: Sequence[str] | None
    class_names: Sequence[str] | None
    unknown: str = field(default="–")

    def name(self, node: int) -> str:
        return str(node) if self.names is None else f"{self.names[node]} ({node})"

    def label(self, node: int) -> str:
        number = -1 if self.y is None or self.y.dim() != 1 else int(self.y[node])
        if number < 0:
            return self.unknown
        return str(number) if self.class_names is None else self.class_names[number]


def _look(attention: Any, node: int, labels: _Labels) -> NodeLook:
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
        name = labels.name(sender) + (" (itself)" if sender == node else "")
        score = None
        if scores is not None:
            score = float(scores.loops[node] if edge is None else scores.edges[edge]) / len(records)
        rows.append((name, labels.label(sender), found[sender, edge], score))
    layers = [record.name for record in records]
    return NodeLook(node, labels.name(node), layers, rows, len(order) - len(rows))


def _gatt(records: list[AttentionRecord], node: int) -> Any:
    """GAtt's scores; None where layers attend over different edges or were recorded in part."""
    if any(record.edge_id is not None for record in records):
        return None
    try:
        return gatt(records, node)
    except InputError:
        return None


def _facts(facts: Mapping[str, Any]) -> str:
    return "\n".join(f"- {name}: {value}" for name, value in facts.items())


def _heads_table(layer: LayerMeasures, said: Sequence[Verdict]) -> str:
    header = ["head", "verdict", "effective neighbours", "on itself (even)"]
    if layer.same_class_mixed is not None:
        header.append("own class (share of such neighbours)")
    rows = []
    for column, verdict in enumerate(said):
        row = [
            verdict.head,
            verdict.kind,
            f"{_number(layer.effective_neighbours[column])} of {_number(layer.degree[column])}",
            f"{_share(layer.self_weight[column])} ({_share(layer.self_uniform[column])})",
        ]
        if layer.same_class_mixed is not None:
            mixed = layer.same_class_mixed
            row.append(f"{_share(mixed.weight[column])} ({_share(mixed.share[column])})")
        rows.append(row)
    return _table(header, rows)


def _degrees_table(layer: LayerMeasures) -> str:
    rows = [
        [
            str(one.low) if one.low == one.high else f"{one.low}–{one.high}",
            f"{one.nodes:,}",
            _number(one.entropy.mean()),
            _number(one.uniform),
            _number(one.effective.mean()),
        ]
        for one in layer.by_degree
    ]
    header = ["edges", "nodes", "entropy (nats)", "of an even spread", "effective neighbours"]
    return f"By number of edges, means over heads:\n\n{_table(header, rows)}"


def _faithfulness(found: Faithfulness) -> str:
    rows = [
        [
            name,
            _interval(one.deletion.area, one.deletion.area_low, one.deletion.area_high),
            _interval(one.insertion.area, one.insertion.area_low, one.insertion.area_high),
            *(
                _interval(est.mean, est.low, est.high)
                for est in (
                    *list(one.fidelity_plus.values())[:1],
                    *list(one.fidelity_minus.values())[:1],
                )
            ),
        ]
        for name, one in found.items()
    ]
    k = next(iter(next(iter(found.values())).fidelity_plus), 1)
    header = ["ranked by", "deletion area", "insertion area", f"fidelity+ @{k}", f"fidelity− @{k}"]
    words = "\n".join(f"- {verdict}" for verdict in found.verdicts.values())
    return (
        f"{len(found.nodes)} nodes; {len(found.left_out)} without a neighbour are left out. With "
        f"all edges the predicted class has probability {found.all_edges.mean:.3f}, with none "
        f"{found.no_edges.mean:.3f}; a single node changes by {found.change.mean:.3f}, up "
        f"or down, on average: that is all there is to explain.\n\n"
        f"{_table(header, rows)}\n\n{words}"
    )


def _in_a_sentence(found: MethodFaithfulness) -> str:
    """Both tests of one method against both baselines, counted."""
    wins = []
    for against in (found.against_random, found.against_nearest):
        # A faithful method's area is small under deletion and large under insertion.
        faster = against["deletion_area"].high < 0, against["insertion_area"].low > 0
        wins.append(sum(faster))
    return (
        f"Taking away or putting in edges in the order of {found.name} moves predictions sooner "
        f"than a random order in {wins[0]} of 2 tests, and sooner than taking the nearest edges "
        f"first, which needs no model, in {wins[1]} of 2."
    )


def counted(count: int, what: str) -> str:
    """A number of things in words: "1 head", "8 heads"."""
    return f"{count:,} {what}" + ("" if count == 1 else "s")


def _interval(mean: float, low: float, high: float) -> str:
    return f"{mean:.3f}" + ("" if math.isnan(low) else f" ({low:.3f} to {high:.3f})")


def _table(header: Sequence[object], rows: Sequence[Sequence[object]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(_cell(one) for one in line) + " |" for line in lines)


def _cell(value: object) -> str:
    """Text that does not end a table's cell, or start markup of its own."""
    text = " ".join(str(value).split()).replace("\\", "\\\\").replace("|", "\\|")
    return text.replace("<", "&lt;").replace(">", "&gt;")


def _number(value: Any) -> str:
    number = float(value)
    return "–" if number != number else f"{number:.2f}"


def _share(value: Any) -> str:
    if value is None or torch.as_tensor(value).isnan():
        return "–"
    return f"{100 * float(value):.0f} %"
