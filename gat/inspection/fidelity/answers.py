"""One node's answers: its class's probability as edges go, or stay, in each order."""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gat.inspection.fidelity.copies import predictions
from gat.inspection.fidelity.orders import counts_of, kept, order, share_tied, unit_scores
from gat.inspection.fidelity.scorers import log_probabilities
from gat.inspection.fidelity.subgraph import Neighbourhood

__all__ = ["MEASURES", "NEAREST", "RANDOM", "Plan", "answers", "seed_of"]

RANDOM, NEAREST = "random", "nearest"
# K fractions; by k: of the probability, and of whether the class is the predicted one.
MEASURES = (
    "deletion",
    "insertion",
    "fidelity_plus",
    "fidelity_minus",
    "accuracy_plus",
    "accuracy_minus",
)


@dataclass(frozen=True, eq=False)
class Plan:
    """What is asked of every node: see `faithfulness`. fractions float64 [K], top_k int64 [k]."""

    fractions: Tensor
    top_k: Tensor
    output: str
    undirected: bool
    draws: int
    memory: int
    seed: int


def answers(
    model: nn.Module,
    part: Neighbourhood,
    unit: Tensor,
    target: int,
    scores: Mapping[str, Tensor],
    plan: Plan,
) -> tuple[dict[str, dict[str, Tensor]], dict[str, float], tuple[float, float]]:
    """By method the measures of one node, [K] or [k] each, and its share of tied scores; and the
    probability with all edges, and with none.

    unit [m]: see `orders.units`; scores: by method, one of each of the m edges. The random order
    is added, the mean of its draws.
    """
    count = int(unit.max()) + 1
    # Shares of an answer add up over a unit's edges, distances do not.
    by_unit = {
        name: unit_scores(one, unit, count, "amax" if name == NEAREST else "sum")
        for name, one in scores.items()
    }
    named = [(name, order(one, _generator(plan, part, name))) for name, one in by_unit.items()]
    for draw in range(plan.draws):
        drawn = _generator(plan, part, f"{RANDOM}/{draw}")
        named.append((RANDOM, order(torch.zeros(count), drawn)))
    orders = torch.stack([one for _, one in named])
    measured = _measures(model, part, unit, target, orders, plan)
    ends = measured.pop("ends")[0].tolist()
    found = {
        name: {
            measure: rows[[one == name for one, _ in named]].mean(0)
            for measure, rows in measured.items()
        }
        for name in dict.fromkeys(name for name, _ in named)
    }
    return found, {name: share_tied(one) for name, one in by_unit.items()}, tuple(ends)


def seed_of(seed: int, node: int, name: str) -> int:
    """A seed of its own for each node and method, whichever others are measured."""
    return zlib.crc32(f"{seed}/{node}/{name}".encode())


def _generator(plan: Plan, part: Neighbourhood, name: str) -> torch.Generator:
    return torch.Generator().manual_seed(seed_of(plan.seed, part.node, name))


def _measures(
    model: nn.Module,
    part: Neighbourhood,
    unit: Tensor,
    target: int,
    orders: Tensor,
    plan: Plan,
) -> dict[str, Tensor]:
    """Each measure for each of R orders of the units, [R, U] to [R, K] or [R, k]."""
    count = orders.size(1)
    fractions, top_k = counts_of(count, plan.fractions, plan.top_k)
    counts, at = torch.unique(
        torch.cat([fractions, top_k, torch.tensor([0, count])]), return_inverse=True
    )
    of_fraction, of_k, ends = at.split([len(fractions), len(top_k), 2])
    size = max(1, plan.memory // (2 * len(counts) * unit.numel()))
    found = [_probabilities(model, part, unit, rows, counts, plan) for rows in orders.split(size)]
    probability = torch.cat(found)
    chosen, right = probability[..., target], (probability.argmax(-1) == target).double()
    measured = {}
    for name, value in (("fidelity", chosen), ("accuracy", right)):
        whole = value[:, 0, ends[:1]]
        measured[f"{name}_plus"] = whole - value[:, 0, of_k]
        measured[f"{name}_minus"] = whole - value[:, 1, of_k]
    return {
        **measured,
        "deletion": chosen[:, 0, of_fraction],
        "insertion": chosen[:, 1, of_fraction],
        "ends": chosen[:, 0, ends],
    }


def _probabilities(
    model: nn.Module, part: Neighbourhood, unit: Tensor, orders: Tensor, counts: Tensor, plan: Plan
) -> Tensor:
    """Of the classes, without the first units of each order and with these alone: [R, 2, K, C]."""
    pairs = [torch.stack(kept(one, counts, unit)) for one in orders]
    keep = torch.stack(pairs)
    out = predictions(model, part, keep.flatten(0, 2), plan.memory)
    found = log_probabilities(out.double(), plan.output).exp().cpu()
    return found.view(*keep.shape[:3], -1)
