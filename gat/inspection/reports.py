"""The report: what a model's attention does and whether it means anything, in words and numbers.

`report` gathers it; a `Report` is written as Markdown for people and as a dict for JSON. It says
nothing that the measures (`gat.inspection.measures`), their verdicts and `faithfulness` do not.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from torch import Tensor

from gat.inspection.fidelity import Estimate, Faithfulness, MethodFaithfulness
from gat.inspection.fidelity.verdicts import ENOUGH, sides
from gat.inspection.files import write_whole
from gat.inspection.measures import LayerMeasures, Measures, measure
from gat.inspection.node_look import NodeLook, look_at
from gat.inspection.record import Attention, AttentionRecord
from gat.inspection.verdict import Verdict, summary, verdicts
from gat.inspection.words import counted, escaped, interval, number, share, table

__all__ = ["Report", "report"]

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
- Nodes with one edge have no choice and are left out of each head's means.\
"""

CHECKING = """\
Weights are one thing, what a prediction depends on another. To see whether they agree, edges are
taken from a node's neighbourhood in the order a method ranks them, and the probability of one
class is followed. **Deletion** takes the highest ranked first: faithful ranks make the
probability fall fast, a small area. **Insertion** puts them into the graph without edges: faithful
ranks make it rise fast, a large area. **Fidelity+ @k** is by how much the probability falls without
the k highest ranked edges (of a faithful method: much), **fidelity− @k** by how much with these
edges alone (little). **Random** order is what any method has to beat; in brackets are confidence
intervals over nodes.\
"""


@dataclass(frozen=True, eq=False)
class Report:
    """What `report` found. facts: lines for the head of the report; summary: a sentence or two for
    each layer; node: what one node looks at, if one was asked for; even: what becomes of the model
    when all attention is made even, in a sentence; unmeasured: why there is no faithfulness."""

    title: str
    facts: Mapping[str, Any]
    measures: Measures
    verdicts: Sequence[Verdict]
    summary: Sequence[str]
    faithfulness: Faithfulness | None = None
    node: NodeLook | None = None
    even: str | None = None
    unmeasured: str | None = None

    def write(self, path: Path, pictures: Mapping[str, str] | None = None) -> tuple[Path, Path]:
        """Write ``path`` as Markdown and, with the suffix .json, as JSON beside it; both paths.
        pictures: as in `markdown`. InputError where a file cannot be written."""
        data = path.with_suffix(".json")
        write_whole(path, self.markdown(pictures).encode())
        write_whole(data, json.dumps(self.to_dict(), indent=1, allow_nan=False).encode())
        return path, data

    def markdown(self, pictures: Mapping[str, str] | None = None) -> str:
        """The report as Markdown. pictures: their files' paths as the report is to link them, by
        the title each stands under."""
        parts = [f"# {escaped(self.title)}", _facts(self.facts), "## In short", *self._in_short()]
        if self.node is not None:
            parts.append(self.node.markdown())
        parts += ["## How to read the numbers", READING, "## Layer by layer"]
        parts += [self._layer(layer) for layer in self.measures.values()]
        if self.faithfulness is not None:
            parts += ["## Does it mean anything?", CHECKING, _faithfulness(self.faithfulness)]
        elif self.unmeasured is not None:
            parts += ["## Does it mean anything?", _not_measured(self.unmeasured)]
        if pictures:
            parts.append("## Pictures")
            parts += [_picture(escaped(title), path) for title, path in pictures.items()]
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
            "unmeasured": self.unmeasured,
        }

    def _in_short(self) -> list[str]:
        lines = [f"- {sentence}" for sentence in self.summary]
        if self.even is not None:
            lines.append(f"- {self.even}")
        if self.faithfulness is not None and "attention" in self.faithfulness:
            lines.append(f"- {_in_a_sentence(self.faithfulness['attention'])}")
        if self.unmeasured is not None:
            lines.append(f"- {_not_measured(self.unmeasured)}")
        return ["\n".join(lines)]

    def _layer(self, layer: LayerMeasures) -> str:
        said = [one for one in self.verdicts if one.layer == layer.layer]
        sentences = "\n".join(f"- {one.sentence}" for one in said)
        return (
            f"### {layer.layer} ({layer.layer_type}, {counted(len(layer.heads), 'head')})\n\n"
            f"{_heads_table(layer, said)}\n\n{sentences}\n\n{_degrees_table(layer)}"
        )


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
    unmeasured: str | None = None,
) -> Report:
    """Measure ``attention`` and put all that is known into one report.

    y: int64 [N], -1 unknown; without it nothing is said of classes. facts: shown at the head.
    faithfulness: what `gat.inspection.faithfulness` found, if it was asked. node: look at this one
    closely. names: of the nodes [N]; class_names: of the classes. even: a sentence on the model
    under `uniform_attention`. unmeasured: why faithfulness was not asked or cannot be.
    """
    measures = measure(attention, y)
    look = None
    if node is not None:
        look = look_at(attention, node, y, names, class_names)
    return Report(
        title,
        facts or {},
        measures,
        verdicts(measures),
        summary(measures),
        faithfulness,
        look,
        even,
        unmeasured,
    )


def _facts(facts: Mapping[str, Any]) -> str:
    return "\n".join(f"- {escaped(name)}: {escaped(value)}" for name, value in facts.items())


def _picture(title: str, path: str) -> str:
    return f"### {title}\n\n![{title.replace('[', '(').replace(']', ')')}]({quote(path)})"


def _not_measured(reason: str) -> str:
    return f"Whether predictions depend on what is attended to was not measured: {reason}."


def _heads_table(layer: LayerMeasures, said: Sequence[Verdict]) -> str:
    header = ["head", "verdict", "effective neighbours", "on itself (even)"]
    if layer.same_class_mixed is not None:
        header.append("own class (share of such neighbours)")
    rows = []
    for column, verdict in enumerate(said):
        row = [
            verdict.head,
            verdict.kind,
            f"{number(layer.effective_neighbours[column])} of {number(layer.degree[column])}",
            f"{share(layer.self_weight[column])} ({share(layer.self_uniform[column])})",
        ]
        if layer.same_class_mixed is not None:
            mixed = layer.same_class_mixed
            row.append(f"{share(mixed.weight[column])} ({share(mixed.share[column])})")
        rows.append(row)
    return table(header, rows)


def _degrees_table(layer: LayerMeasures) -> str:
    rows = [
        [
            str(one.low) if one.low == one.high else f"{one.low}–{one.high}",
            f"{one.nodes:,}",
            number(one.entropy.nanmean()),
            number(one.uniform),
            number(one.effective.nanmean()),
        ]
        for one in layer.by_degree
    ]
    header = ["edges", "nodes", "entropy (nats)", "of an even spread", "effective neighbours"]
    return f"By number of edges, means over heads:\n\n{table(header, rows)}"


def _faithfulness(found: Faithfulness) -> str:
    k = next(iter(next(iter(found.values())).fidelity_plus), None)
    header = ["ranked by", "deletion area", "insertion area"]
    if k is not None:
        header += [f"fidelity+ @{k}", f"fidelity− @{k}"]
    rows = [[name, *_figures(one, k)] for name, one in found.items()]
    words = "\n".join(f"- {verdict}" for verdict in found.verdicts.values())
    return (
        f"{counted(len(found.nodes), 'node')}; {len(found.left_out)} without a neighbour are left "
        f"out. With all edges the {found.settings['class']} class has probability "
        f"{found.all_edges.mean:.3f}, with none {found.no_edges.mean:.3f}; a single node changes "
        f"by {found.change.mean:.3f}, up or down, on average: that is all there is to explain.\n\n"
        f"{table(header, rows)}\n\n{words}"
    )


def _figures(one: MethodFaithfulness, k: int | None) -> list[str]:
    """The areas of one method and its fidelities at k, with intervals."""
    found: list[Estimate] = [] if k is None else [one.fidelity_plus[k], one.fidelity_minus[k]]
    return [
        interval(one.deletion.area, one.deletion.area_low, one.deletion.area_high),
        interval(one.insertion.area, one.insertion.area_low, one.insertion.area_high),
        *(interval(each.mean, each.low, each.high) for each in found),
    ]


def _in_a_sentence(found: MethodFaithfulness) -> str:
    """Both tests of one method against its baselines, counted."""
    nodes = found.deletion.areas.numel()
    if nodes < ENOUGH:
        return (
            f"Whether predictions depend on what is attended to cannot be told from "
            f"{counted(nodes, 'node')}; {ENOUGH} or more are needed."
        )
    beside = [f"than a random order {_won(sides(found.against_random))}"]
    if found.against_nearest:
        won = _won(sides(found.against_nearest))
        beside.append(f"than taking the nearest edges first, which needs no model, {won}")
    return (
        f"Taking away or putting in edges in the order of {found.name} moves predictions sooner "
        f"{', and sooner '.join(beside)}."
    )


def _won(sides: tuple[int, int]) -> str:
    """Of deletion and insertion: in how many a method was better, and worse."""
    worse = sides.count(-1)
    return f"in {sides.count(1)} of 2 tests" + (f" (later in {worse})" if worse else "")
