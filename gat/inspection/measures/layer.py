"""`measure`: everything this room knows of a layer's heads, in one object that prints as JSON."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gat.errors import InputError
from gat.inspection.measures.classes import ClassMeans, Labels, class_weight, labels_of
from gat.inspection.measures.degrees import degree_weight
from gat.inspection.measures.entropies import DegreeClass, Entropy, entropy
from gat.inspection.measures.heads import HeadAgreement, head_agreement
from gat.inspection.measures.own_weight import self_weight
from gat.inspection.measures.plain import plain
from gat.inspection.measures.shares import Shares, shares_of
from gat.inspection.record import Attention, AttentionKeyError, AttentionRecord, in_order

__all__ = ["LayerMeasures", "Measures", "NodeCounts", "measure", "measure_layer"]


@dataclass(frozen=True)
class NodeCounts:
    """The targets of a layer by what they can say.

    all: how many there are; choosing: with two edges or more, which means are over; one_edge and
    no_edge: the rest of those seen; not_seen: of which nothing was recorded; sampled: seen, but not
    with every edge.
    """

    all: int
    choosing: int
    one_edge: int
    no_edge: int
    not_seen: int
    sampled: int


@dataclass(frozen=True, eq=False)
class LayerMeasures:
    """What one layer's heads do. Tensors are float64 [H] and in the order of ``heads``.

    Means are over targets with two edges or more, each of which counts the same; NaN where there is
    none. Entropies and divergences are in nats.

    layer: the record's name; layer_type, when, heads: as in the record.
    mean_sum: what the targets' weights sum to, before they were divided by it; sum_error: the
    largest distance of a sum from 1. Both over all targets with an edge.
    degree: mean number of edges, loops among them.
    entropy, uniform_entropy: means of the entropy and of log degree; normalised_entropy: mean of
    their quotient.
    effective_neighbours: mean of exp(entropy); effective_share: mean of exp(entropy) / degree.
    by_degree: the same by degree class.
    self_weight, self_uniform: the share on the target itself, and that of an even spread.
    same_class: over targets with two labelled neighbours or more; same_class_mixed: over those of
    them with neighbours of their own and of other classes. None without labels.
    degree_correlation: Spearman's, of relative weight and source degree (`degree_weight`).
    agreement: between heads.
    """

    layer: str
    layer_type: str
    when: str
    heads: tuple[int, ...]
    nodes: NodeCounts
    mean_sum: Tensor
    sum_error: Tensor
    degree: Tensor
    entropy: Tensor
    uniform_entropy: Tensor
    normalised_entropy: Tensor
    effective_neighbours: Tensor
    effective_share: Tensor
    by_degree: tuple[DegreeClass, ...]
    self_weight: Tensor
    self_uniform: Tensor
    same_class: ClassMeans | None
    same_class_mixed: ClassMeans | None
    degree_correlation: Tensor
    agreement: HeadAgreement

    def to_dict(self) -> dict[str, Any]:
        """The same as dicts, lists, numbers and strings; None for NaN."""
        return plain(self)


@dataclass(frozen=True, eq=False)
class Measures(Mapping[str, LayerMeasures]):
    """The measures of every layer, by the records' names, in the order in which the layers ran."""

    layers: tuple[LayerMeasures, ...]

    def __getitem__(self, name: str) -> LayerMeasures:
        for layer in self.layers:
            if layer.layer == name:
                return layer
        known = ", ".join(map(repr, self))
        raise AttentionKeyError(f"there are no measures of {name!r}; measured: {known}")

    def __iter__(self) -> Iterator[str]:
        return (layer.layer for layer in self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def to_dict(self) -> dict[str, Any]:
        """{"layers": [...]}, of what JSON knows; None for NaN."""
        return plain(self)


@torch.no_grad()
def measure(
    attention: Attention | Sequence[AttentionRecord] | AttentionRecord, y: Labels | None = None
) -> Measures:
    """Measure every layer of ``attention``.

    y: classes of the nodes, for the weight on neighbours of the same class: integers [N], -1 where
    unknown; of a bipartite graph a pair, of sources and of targets; or by node type, where edge
    types with an end that has none are measured without. Takes O(E H) memory in float64.

    InputError for weights that are negative or not finite, for two records of one name and for
    labels that do not fit.
    """
    records = in_order(attention)
    names = [record.name for record in records]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise InputError(
            f"several records are called {min(twice)!r}; expected one for each layer. For one "
            f"layer at several epochs use change_over_epochs"
        )
    return Measures(tuple(measure_layer(shares_of(record), y) for record in records))


def measure_layer(shares: Shares, y: Labels | None) -> LayerMeasures:
    """One layer's measures, of its shares worked out once; ``y`` as in `measure`."""
    record, spread, own = shares.record, entropy(shares), self_weight(shares)
    labelled = y is not None and labels_of(record, y) is not None
    classes = class_weight(shares, y) if y is not None and labelled else None
    return LayerMeasures(
        layer=record.name,
        layer_type=record.layer_type,
        when=record.when,
        heads=record.heads,
        nodes=_counts(shares),
        **_sums(shares),
        **_spread(shares, spread),
        by_degree=spread.by_degree,
        self_weight=own.mean,
        self_uniform=own.mean_uniform,
        same_class=None if classes is None else classes.all,
        same_class_mixed=None if classes is None else classes.mixed,
        degree_correlation=degree_weight(shares).correlation,
        agreement=head_agreement(shares),
    )


def _counts(shares: Shares) -> NodeCounts:
    record, degree = shares.record, shares.degree
    seen = torch.ones_like(degree, dtype=torch.bool) if record.seen is None else record.seen
    complete = seen if record.complete is None else record.complete
    return NodeCounts(
        all=record.num_dst,
        choosing=int((degree >= 2).sum()),
        one_edge=int((degree == 1).sum()),
        no_edge=int((seen & (degree == 0)).sum()),
        not_seen=int((~seen).sum()),
        sampled=int((seen & ~complete).sum()),
    )


def _sums(shares: Shares) -> dict[str, Tensor]:
    sums = shares.sums[shares.degree > 0]
    error = (sums - 1).abs()
    worst = error.amax(0) if len(error) else sums.new_full((sums.size(1),), torch.nan)
    return {"mean_sum": sums.mean(0), "sum_error": worst}


def _spread(shares: Shares, spread: Entropy) -> dict[str, Tensor]:
    effective, degree = spread.effective_neighbours, spread.degree.double()
    return {
        "degree": shares.mean(degree),
        "entropy": shares.mean(spread.entropy),
        "uniform_entropy": shares.mean(spread.uniform),
        "normalised_entropy": shares.mean(spread.normalised),
        "effective_neighbours": shares.mean(effective),
        "effective_share": shares.mean(effective / degree.unsqueeze(1)),
    }
