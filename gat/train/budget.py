"""A memory budget: full batch where it fits, else sampled batches, else a refusal with numbers."""

import warnings
from dataclasses import dataclass

import torch

from gat.data import NodeTask
from gat.errors import DoesNotFitError
from gat.machine import available, gib, parse_bytes, resident
from gat.train.config import TrainConfig
from gat.train.memory import MemoryPrediction, predict_memory
from gat.train.memory_sizes import Sizes, sizes_of
from gat.train.sampling_config import SamplingConfig

__all__ = ["Choice", "choose"]


@dataclass(frozen=True)
class Choice:
    """What is to be trained: the configuration with its sampling settled, the prediction, and what
    was decided, in one sentence ("" where nothing was asked)."""

    config: TrainConfig
    prediction: MemoryPrediction
    sentence: str = ""


def choose(config: TrainConfig, task: NodeTask, device: str | None = None) -> Choice:
    """Hold ``config`` on ``task`` to its ``memory_budget``, before anything is computed.

    "none" trains on whole graphs, if they fit; "auto" becomes "none" where that fits, else
    "neighbor"; what names a way of sampling is held to the budget as it is. Without a budget "auto"
    is held to what is free. device: where it will run, by default what ``config`` says.

    Raises DoesNotFitError, with the numbers, for what does not fit. Warns where the budget is more
    than the machine has, and, without one, where a full batch is predicted to need more than that.
    """
    device = device or _device(config)
    sizes, sampling = sizes_of(task, config), config.sampling.name
    free = _free(device)
    if config.memory_budget is None and sampling != "auto":
        prediction = predict_memory(config, sizes, device)
        if sampling == "none" and free is not None:
            _warn_if_short(prediction, free)
        return Choice(config, prediction)
    budget, name = _limit(config, free)
    whole = config.updated(sampling=SamplingConfig())
    full = predict_memory(whole, sizes, device)
    if sampling in ("none", "auto") and (budget is None or full.total <= budget):
        return Choice(whole, full, _fits(full, name))
    if sampling == "none":
        raise DoesNotFitError(_refused(full, name))
    return _sampled(config, sizes, device, full, budget, name)


def _sampled(
    config: TrainConfig,
    sizes: Sizes,
    device: str,
    full: MemoryPrediction,
    budget: int | None,
    name: str,
) -> Choice:
    """Sampled batches: as they are set, or of neighbours where a full batch did not fit."""
    turned = config.sampling.name == "auto"
    chosen = config.updated(**{"sampling.name": "neighbor"}) if turned else config
    batch = predict_memory(chosen, sizes, device)
    if budget is not None and batch.total > budget:
        raise DoesNotFitError(
            f"a batch of sampling.name = {chosen.sampling.name!r} is predicted to need up to "
            f"{batch.sum()}; {name}. Draw fewer neighbours (sampling.num_neighbors), smaller "
            f"batches (sampling.batch_size), score a smaller part at a time "
            f"(sampling.inference_memory), or make the network smaller (--hidden, --heads)"
        )
    why = f"a full batch would need {gib(full.total)}, so " if turned else ""
    return Choice(
        chosen,
        batch,
        f"memory: {why}batches of sampling.name = {chosen.sampling.name!r} are trained on, which "
        f"need at most {gib(batch.total)}; {name}",
    )


def _fits(full: MemoryPrediction, name: str) -> str:
    return f"memory: a full batch is predicted to need {full.sum()}; {name}"


def _refused(full: MemoryPrediction, name: str) -> str:
    return (
        f"a full batch is predicted to need {full.sum()}; {name}. Train on sampled batches "
        f"(--set sampling.name=neighbor), make the network smaller (--hidden, --heads, --layers), "
        f"or raise --memory-budget\n{full.table()}"
    )


def _limit(config: TrainConfig, free: int | None) -> tuple[int | None, str]:
    """The most that may be taken, and how it is called; what is free, without a budget."""
    if config.memory_budget is None:
        return free, "nothing tells what is free" if free is None else f"{gib(free)} are free"
    budget = parse_bytes(config.memory_budget)
    if free is not None and budget > free:
        warnings.warn(
            f"memory_budget is {gib(budget)}, of which this machine has {gib(free)} free now",
            stacklevel=4,
        )
    return budget, f"the budget is {gib(budget)}"


def _warn_if_short(prediction: MemoryPrediction, free: int) -> None:
    if prediction.total > free:
        warnings.warn(
            f"a full batch is predicted to need {prediction.sum()}; {gib(free)} are free. "
            f"Training may end for want of memory; sampled batches need less "
            f"(--set sampling.name=neighbor)",
            stacklevel=4,
        )


def _device(config: TrainConfig) -> str:
    if config.device != "auto":
        return config.device
    return "cuda" if torch.cuda.is_available() else "cpu"


def _free(device: str) -> int | None:
    """What this process may hold in all: what is free, and what it has taken already."""
    if device.startswith("cuda"):
        free: int = torch.cuda.mem_get_info(device)[0]
        return free + torch.cuda.memory_reserved(device)
    free_now = available()
    return None if free_now is None else free_now + resident()
