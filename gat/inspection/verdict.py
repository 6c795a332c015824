"""Each head in one word and one sentence, for a reader new to attention, with the numbers behind.

The rules stand in `_kind`, in a fixed order; their thresholds are choices, named and explained
below. A verdict says what a head does with its weights, not what the network needs them for.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from gat.inspection.measures.classes import ClassMeans
from gat.inspection.measures.layer import LayerMeasures, Measures
from gat.inspection.measures.plain import plain

__all__ = ["KINDS", "Verdict", "summary", "verdicts"]

# "no choice": no node has two edges to choose from, so nothing can be said.
KINDS = ("no choice", "self", "class-seeking", "local", "uniform")

# Half of everything: the node itself gets as much as all its neighbours together.
SELF_WEIGHT = 0.5
# And more than its part: of two edges an even spread leaves half to the node already.
SELF_GAIN = 0.1
# A tenth of the weight moved to the own class, where there is a choice: less would be true of a
# large graph beyond all noise and still change little.
CLASS_GAIN = 0.1
# The usual two standard errors; of twenty heads that seek nothing, one exceeds them on one side or
# the other by chance, which is why CLASS_GAIN is asked for too.
CLASS_ERRORS = 2.0
# With fewer nodes the standard error is itself a guess, and two of them are passed too often.
CLASS_NODES = 30
# Nine tenths of the edges in use: of two edges, weights of 0.72 and 0.28; below, not "evenly".
UNIFORM_SHARE = 0.9
# Below half of the edges in use the sentence says "few", above "some".
FEW_SHARE = 0.5
# Sums of weights this far from 1 are no rounding, not even in 16 bits: the summary says so.
SUM_ERROR = 0.05


@dataclass(frozen=True)
class Verdict:
    """What one head does.

    layer: the record's name; head: its number in the layer; kind: one of KINDS; sentence: the same
    in plain words; numbers: what it rests on, by the names in `LayerMeasures`, None where a number
    does not exist. Means leave out nodes with one edge, whose number is ``left_out``.
    """

    layer: str
    head: int
    kind: str
    sentence: str
    numbers: dict[str, float | int | None]

    @property
    def brief(self) -> str:
        """The numbers that decided, in a few words for a table."""
        return _brief(self.kind, self.numbers)

    def to_dict(self) -> dict[str, Any]:
        """The same, of what JSON knows."""
        return plain(self)


def verdicts(measures: Measures | LayerMeasures) -> list[Verdict]:
    """A verdict for every head, layer by layer. "class-seeking" needs measures with labels."""
    layers = [measures] if isinstance(measures, LayerMeasures) else measures.layers
    return [_verdict(layer, column) for layer in layers for column in range(len(layer.heads))]


def summary(measures: Measures | LayerMeasures) -> list[str]:
    """A sentence or two for every layer: how many heads do what, and how many differ."""
    layers = [measures] if isinstance(measures, LayerMeasures) else measures.layers
    return [_summary(layer) for layer in layers]


def _verdict(layer: LayerMeasures, column: int) -> Verdict:
    numbers = _numbers(layer, column)
    kind = _kind(numbers)
    name = f"Head {layer.heads[column]}"
    return Verdict(layer.layer, layer.heads[column], kind, _sentence(name, kind, numbers), numbers)


def _kind(numbers: dict[str, Any]) -> str:
    """The first rule that holds: what stays with the node itself leaves the least to ask about its
    neighbours, and a head can seek its class at little cost in entropy."""
    share = numbers["effective_share"]
    if share is None:
        return "no choice"
    own, even = numbers["self_weight"], numbers["self_uniform"]
    if own >= SELF_WEIGHT and own - even >= SELF_GAIN:
        return "self"
    if _seeks_class(numbers):
        return "class-seeking"
    return "uniform" if share >= UNIFORM_SHARE else "local"


def _seeks_class(numbers: dict[str, Any]) -> bool:
    if numbers["class_nodes"] is None or numbers["class_nodes"] < CLASS_NODES:
        return False
    gain, error = numbers["class_difference"], numbers["class_standard_error"]
    return gain >= CLASS_GAIN and gain > CLASS_ERRORS * error


def _numbers(layer: LayerMeasures, column: int) -> dict[str, Any]:
    names = (
        "effective_neighbours",
        "degree",
        "effective_share",
        "normalised_entropy",
        "self_weight",
        "self_uniform",
        "mean_sum",
    )
    found = {name: plain(getattr(layer, name)[column]) for name in names}
    mixed: ClassMeans | None = layer.same_class_mixed
    for name in ("nodes", "weight", "share", "difference", "standard_error"):
        part: Tensor | None = None if mixed is None else getattr(mixed, name)[column]
        found[f"class_{name}"] = plain(part)
    found["nearest_divergence"] = plain(layer.agreement.nearest[column])
    found["nearest_head"] = layer.agreement.nearest_head[column]
    found["nodes"], found["left_out"] = layer.nodes.choosing, layer.nodes.one_edge
    return found


WORDS = {"no choice": "without a choice to judge by"} | {kind: kind for kind in KINDS[1:]}


def _sentence(name: str, kind: str, numbers: dict[str, Any]) -> str:
    if kind == "no choice":
        return (
            f"{name} cannot be judged: no recorded node has two edges or more with weight to share "
            f"between them."
        )
    if kind == "self":
        return (
            f"{name} looks mostly at the node itself: {_percent(numbers['self_weight'])} of its "
            f"attention stays there, where an even spread would leave "
            f"{_percent(numbers['self_uniform'])}."
        )
    if kind == "class-seeking":
        return (
            f"{name} prefers neighbours of the node's own class: where a node has neighbours of "
            f"its own and of other classes, its own get {_percent(numbers['class_weight'])} of the "
            f"attention and are {_percent(numbers['class_share'])} of the neighbours "
            f"({numbers['class_nodes']:,} nodes; the difference is known to "
            f"±{_points(numbers['class_standard_error'])} points, one standard error)."
        )
    does = "spreads its attention almost evenly"
    if kind == "local":
        few = numbers["effective_share"] < FEW_SHARE
        does = f"looks at {'few' if few else 'some'} of the neighbours more than at the others"
    return f"{name} {does}: on average {_spread(numbers)}."


def _brief(kind: str, numbers: dict[str, Any]) -> str:
    if kind == "no choice":
        return "no node has two edges to choose from"
    if kind == "self":
        own, even = _percent(numbers["self_weight"]), _percent(numbers["self_uniform"])
        return f"{own} on the node itself (even: {even})"
    if kind == "class-seeking":
        weight, share = _percent(numbers["class_weight"]), _percent(numbers["class_share"])
        return f"{weight} on its own class (of the neighbours: {share})"
    return _over(numbers)


def _spread(numbers: dict[str, Any]) -> str:
    itself = ", the node itself included" if numbers["self_uniform"] > 0 else ""
    return f"{_over(numbers)}{itself}"


def _over(numbers: dict[str, Any]) -> str:
    effective, degree = numbers["effective_neighbours"], numbers["degree"]
    digits = 2 if degree < 10 else 1
    return f"as over {effective:.{digits}f} of {degree:.{digits}f} neighbours"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _points(share: float) -> str:
    return f"{100 * share:.1f}"


def _summary(layer: LayerMeasures) -> str:
    total = len(layer.heads)
    kinds = Counter(one.kind for one in verdicts(layer))
    counts = [(kinds[kind], WORDS[kind]) for kind in KINDS if kinds[kind]]
    said = [f"{many} of {total} heads {_be(many)} {word}" for many, word in counts]
    if len(counts) == 1:
        many = "both" if total == 2 else f"all {total}"
        all_heads = f"{many} heads are" if total > 1 else "its one head is"
        said = [f"{all_heads} {counts[0][1]}"]
    text = f"{layer.layer}: {', '.join(said)}."
    if total > 1 and layer.agreement.effective_heads >= 1:
        text += (
            f" Their weights amount to {layer.agreement.effective_heads:.1f} different patterns."
        )
    if layer.nodes.one_edge:
        text += f" Left out: nodes with one edge, which have no choice ({layer.nodes.one_edge:,})."
    return text + _of_sums(layer)


def _of_sums(layer: LayerMeasures) -> str:
    """What to keep in mind where the weights were no distributions."""
    if not bool((layer.sum_error > SUM_ERROR).any()):
        return ""
    if layer.when == "after_dropout":
        return (
            " The weights are those after dropout, which by itself makes a head look local; record "
            "before dropout to judge the heads."
        )
    return (
        f" A node's weights do not sum to 1 (on average to {float(layer.mean_sum.nanmean()):.2f}) "
        f"and were divided by their sum."
    )


def _be(many: int) -> str:
    return "is" if many == 1 else "are"
