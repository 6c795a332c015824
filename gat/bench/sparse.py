"""The first layer's product over features that are mostly zero, with dropout on them, both ways.

"dense" drops and multiplies every entry; "torch" those stored in a CSR matrix, by its own product;
"gat" the same by ours (`gat.nn.features`), as a layer has it.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import grad

from gat.bench import check as correctness
from gat.bench import timing
from gat.bench.case import Plan
from gat.bench.peers import check_names
from gat.bench.record import Record
from gat.checks import check_sizes
from gat.data import cards, load, normalize_features
from gat.errors import InputError
from gat.nn import drop_features
from gat.nn.features import linear

__all__ = ["PEERS", "check", "measure_sparse", "times"]

# The official GAT recipe's, on Cora and Citeseer.
DROPOUT = 0.6

# weight [channels, features] -> features @ weight.T, with dropout of p on the features.
Product = Callable[[Tensor, float], Tensor]


def measure_sparse(dataset: str, plan: Plan, channels: int = 64) -> Record:
    """Measure the product of ``dataset``'s features and weights for ``channels`` outputs."""
    check_names(plan.peers, PEERS)
    if dataset not in cards():
        raise InputError(f"there is no data set {dataset!r}; gat datasets lists them")
    if not cards()[dataset].is_graph:
        raise InputError(f"the data set {dataset!r} is no graph; gat datasets lists those that are")
    check_sizes(channels=channels)
    what = {"dataset": dataset, "channels": channels}
    title = f"features of {dataset} to {channels} channels"
    return plan.record("sparse", title, what, [plan.case("sparse", dataset, title, what)])


# What follows runs in processes of its own.


def _dense(x: Tensor) -> Product:
    return lambda weight, p: F.linear(F.dropout(x, p), weight)


def _torch(x: Tensor) -> Product:
    matrix = x.to_sparse_csr()

    def run(weight: Tensor, p: float) -> Tensor:
        values = F.dropout(matrix.values(), p)
        indices = matrix.crow_indices(), matrix.col_indices()
        dropped = torch.sparse_csr_tensor(*indices, values, matrix.shape, check_invariants=False)
        return F.linear(dropped, weight)

    return run


def _ours(x: Tensor) -> Product:
    matrix = x.to_sparse_csr()
    return lambda weight, p: linear(drop_features(matrix, p, training=True), weight)


PEERS: dict[str, Callable[[Tensor], Product]] = {"gat": _ours, "dense": _dense, "torch": _torch}


def _features(dataset: str) -> Tensor:
    return normalize_features(load(dataset).graphs[0].x, "row")


def _given(x: Tensor, channels: int) -> tuple[Tensor, Tensor]:
    """The weights and the gradient of the output."""
    draw = torch.Generator().manual_seed(0)
    weight = torch.randn(channels, x.size(1), generator=draw)
    return weight.requires_grad_(), torch.randn(x.size(0), channels, generator=draw)


def check(dataset: str, channels: int, names: list[str]) -> dict[str, Any]:
    """Product and gradient of each peer without dropout."""
    x = _features(dataset)
    weight, grad_out = _given(x, channels)

    def results(product: Product, given: Tensor) -> dict[str, Tensor]:
        out = product(given, 0.0)
        (gradient,) = grad(out, [given], grad_out.to(given.dtype))
        return {"out": out.detach(), "grad weight": gradient}

    def truth(dtype: torch.dtype) -> dict[str, Tensor]:
        return results(_dense(x.to(dtype)), weight.detach().to(dtype).requires_grad_())

    bounds = correctness.bounds(truth)
    checked = correctness.compare(
        lambda name: correctness.errors_of(results(PEERS[name](x), weight), bounds), names, bounds
    )
    kept = int(x.count_nonzero())
    share = f"{kept / max(x.numel(), 1):.2%}"
    return {
        "facts": {"nodes": x.size(0), "features": x.size(1), "features not zero": share},
        "on": "product and gradient without dropout",
        **checked,
    }


def times(dataset: str, channels: int, names: list[str], repeats: int) -> dict[str, Any]:
    """Seconds of each product, taken in turn, with dropout."""
    x = _features(dataset)
    weight, grad_out = _given(x, channels)

    def run(name: str) -> timing.Sampler:
        product = PEERS[name](x)
        once = timing.backward_too(lambda: product(weight, DROPOUT), [weight], grad_out)
        return timing.Sampler(once)

    return {"samples": timing.take_turns({name: run(name) for name in names}, repeats)}
