"""From what was found at each node to the result: means, intervals, differences, words."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gat.inspection.fidelity.answers import MEASURES, NEAREST, RANDOM, Plan
from gat.inspection.fidelity.results import Curve, Estimate, Faithfulness, MethodFaithfulness
from gat.inspection.fidelity.statistics import Resampling
from gat.inspection.fidelity.verdicts import random_verdict, verdict

__all__ = ["Told", "summary"]


@dataclass(frozen=True, eq=False)
class Told:
    """What was found at one node: see `answers` and `Scorers.scores`; edges: how many units."""

    node: int
    target: int
    edges: int
    measures: Mapping[str, Mapping[str, Tensor]]
    tied: Mapping[str, float]
    seconds: Mapping[str, float]
    difference: float
    ends: tuple[float, float]


def summary(
    told: list[Told],
    left_out: tuple[int, ...],
    plan: Plan,
    resampling: Resampling,
    settings: Mapping[str, Any],
    began: float,
) -> Faithfulness:
    """The result over the nodes that were asked."""
    of_methods = {
        name: {
            measure: torch.stack([one.measures[name][measure] for one in told])
            for measure in MEASURES
        }
        for name in told[0].measures
    }
    for values in of_methods.values():
        for curve in ("deletion", "insertion"):
            values[f"{curve}_area"] = _area(values[curve], plan.fractions)
    whole, empty = torch.tensor([one.ends for one in told], dtype=torch.float64).unbind(1)
    return Faithfulness(
        nodes=torch.tensor([one.node for one in told]),
        left_out=left_out,
        classes=torch.tensor([one.target for one in told]),
        edges=torch.tensor([one.edges for one in told]),
        all_edges=_estimate(whole, resampling),
        no_edges=_estimate(empty, resampling),
        change=_estimate((whole - empty).abs(), resampling),
        methods={name: _method(name, of_methods, told, plan, resampling) for name in of_methods},
        difference=max(one.difference for one in told),
        seconds=time.perf_counter() - began,
        settings=settings,
    )


def _method(
    name: str,
    of_methods: Mapping[str, Mapping[str, Tensor]],
    told: list[Told],
    plan: Plan,
    resampling: Resampling,
) -> MethodFaithfulness:
    values = of_methods[name]
    random, nearest = (
        _less(values, of_methods[other], plan, resampling)
        if other in of_methods and name not in (RANDOM, other)
        else {}
        for other in (RANDOM, NEAREST)
    )
    words = verdict(name, random, nearest, resampling.confidence) if random else None
    return MethodFaithfulness(
        name,
        fidelity_plus=_by_k(values["fidelity_plus"], plan, resampling),
        fidelity_minus=_by_k(values["fidelity_minus"], plan, resampling),
        accuracy_plus=_by_k(values["accuracy_plus"], plan, resampling),
        accuracy_minus=_by_k(values["accuracy_minus"], plan, resampling),
        deletion=_curve(values, "deletion", plan, resampling),
        insertion=_curve(values, "insertion", plan, resampling),
        against_random=random,
        against_nearest=nearest,
        tied=sum(one.tied.get(name, 1.0) for one in told) / len(told),
        seconds=sum(one.seconds.get(name, 0.0) for one in told),
        verdict=words or random_verdict(plan.draws),
    )


def _less(
    values: Mapping[str, Tensor],
    of_other: Mapping[str, Tensor],
    plan: Plan,
    resampling: Resampling,
) -> dict[str, Estimate]:
    """Each measure less another method's, node by node."""
    less = {name: values[name] - of_other[name] for name in values}
    found = {
        name: _estimate(less[name], resampling) for name in ("deletion_area", "insertion_area")
    }
    for measure in ("fidelity_plus", "fidelity_minus"):
        for k, one in _by_k(less[measure], plan, resampling).items():
            found[f"{measure}@{k}"] = one
    return found


def _by_k(values: Tensor, plan: Plan, resampling: Resampling) -> dict[int, Estimate]:
    columns = zip(plan.top_k.tolist(), values.unbind(1), strict=True)
    return {k: _estimate(column, resampling) for k, column in columns}


def _estimate(values: Tensor, resampling: Resampling) -> Estimate:
    mean, low, high = (float(one) for one in resampling.interval(values))
    return Estimate(mean, low, high, values)


def _curve(values: Mapping[str, Tensor], name: str, plan: Plan, resampling: Resampling) -> Curve:
    areas = values[f"{name}_area"]
    area = _estimate(areas, resampling)
    return Curve(
        plan.fractions,
        *resampling.interval(values[name]),
        values=values[name],
        area=area.mean,
        area_low=area.low,
        area_high=area.high,
        areas=areas,
    )


def _area(values: Tensor, fractions: Tensor) -> Tensor:
    """By trapezoids over the fractions, divided by their span: [n, K] to [n]."""
    return torch.trapezoid(values, fractions) / (fractions[-1] - fractions[0])
