"""Optimisers, schedules and the three ways of clipping."""

from typing import Any

import pytest
import torch
from torch import nn

from gat.errors import ConfigError
from gat.train.config import ClipConfig, OptimizerConfig, ScheduleConfig
from gat.train.optim import Clipper, Schedule, make_optimizer


class Two(nn.Module):
    """Two parameters with the gradients (-4, -0.5, 0.5, 4) and (3,)."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(4))
        self.bias = nn.Parameter(torch.zeros(1))
        self.weight.grad = torch.tensor([-4.0, -0.5, 0.5, 4.0])
        self.bias.grad = torch.tensor([3.0])


NORM = (16 + 0.25 + 0.25 + 16 + 9) ** 0.5

CLIPS: dict[str, tuple[dict[str, Any], list[float], list[float]]] = {
    "none": ({}, [-4, -0.5, 0.5, 4], [3]),
    "value": ({"name": "value", "value": 1.0}, [-1, -0.5, 0.5, 1], [1]),
    "norm": ({"name": "norm", "norm": NORM / 2}, [-2, -0.25, 0.25, 2], [1.5]),
    "large norm": ({"name": "norm", "norm": 100.0}, [-4, -0.5, 0.5, 4], [3]),
    "unequal bounds": (
        {"name": "bounds", "bounds": {"weight": (-0.1, 2.0)}},
        [-0.1, -0.1, 0.5, 2],
        [3],
    ),
    "first pattern holds": (
        {"name": "bounds", "bounds": {"b*": (-1.0, 2.5), "*": (-3.0, 1.0)}},
        [-3, -0.5, 0.5, 1],
        [2.5],
    ),
}


@pytest.mark.parametrize(("options", "weight", "bias"), CLIPS.values(), ids=CLIPS.keys())
def test_clip(options: dict[str, Any], weight: list[float], bias: list[float]) -> None:
    model = Two()
    Clipper(ClipConfig(**options), model)()
    assert torch.allclose(model.weight.grad, torch.tensor(weight).float())
    assert torch.allclose(model.bias.grad, torch.tensor(bias).float())


def test_clip_bounds_refuse_a_pattern_without_parameter() -> None:
    clip = ClipConfig(name="bounds", bounds={"wieght": (-1, 1)})
    with pytest.raises(ConfigError, match=r"'wieght'; the model's parameters are weight, bias"):
        Clipper(clip, Two())


def test_clip_leaves_parameters_without_gradient() -> None:
    model = Two()
    model.bias.grad = None
    Clipper(ClipConfig(name="bounds", bounds={"*": (-1, 1)}), model)()
    assert model.bias.grad is None


@pytest.mark.parametrize("name", ["adam", "adamw", "rmsprop"])
def test_optimizer_takes_its_options(name: Any) -> None:
    model = Two()
    own: dict[str, Any] = {"betas": (0.5, 0.6)}
    if name == "rmsprop":
        own = {"alpha": 0.7, "momentum": 0.3}
    options = OptimizerConfig(name=name, lr=0.1, weight_decay=0.2, eps=1e-3, **own)
    optimizer = make_optimizer(options, model)
    (group,) = optimizer.param_groups
    assert type(optimizer).__name__.lower() == name
    assert (group["lr"], group["weight_decay"], group["eps"]) == (0.1, 0.2, 1e-3)
    if name == "rmsprop":
        assert (group["alpha"], group["momentum"]) == (0.7, 0.3)
    else:
        assert group["betas"] == (0.5, 0.6)
    optimizer.step()
    assert bool((model.weight.sign() == -model.weight.grad.sign()).all())


def rates(losses: list[float], **options: Any) -> list[float]:
    """The learning rate of each epoch's steps, from a rate of 1."""
    optimizer = torch.optim.SGD(Two().parameters(), lr=1.0)
    schedule = Schedule(ScheduleConfig(**options), optimizer, epochs=len(losses))
    found = []
    for loss in losses:
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step_epoch()
        schedule.step_evaluation(4 - loss, loss)
    return found


def test_schedule_none_is_constant() -> None:
    assert rates([1.0] * 5) == [1.0] * 5


def test_schedule_warms_up() -> None:
    assert rates([1.0] * 6, warmup_epochs=4) == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1])


def test_schedule_cosine_falls_to_min_lr_after_warm_up() -> None:
    found = rates([1.0] * 10, name="cosine", min_lr=0.1, warmup_epochs=2)
    assert found[:3] == pytest.approx([0.5, 1.0, 1.0])
    assert found[6] == pytest.approx(0.55)
    assert found[2:] == sorted(found[2:], reverse=True)
    assert 0.1 < found[-1] < 0.15


@pytest.mark.parametrize("monitor", ["loss", "metric"])
def test_schedule_plateau_halves_after_patience(monitor: str) -> None:
    losses = [3.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0]
    found = rates(losses, name="plateau", patience=2, factor=0.5, min_lr=0.3, monitor=monitor)
    assert found == [1, 1, 1, 1, 1, 0.5, 0.5, 0.5]
    assert rates([1.0] * 30, name="plateau", patience=0, min_lr=0.3)[-1] == 0.3


def test_schedule_plateau_waits_for_the_warm_up() -> None:
    losses = [1.0, 2.0, 2.0, 2.0, 2.0]
    found = rates(losses, name="plateau", patience=0, warmup_epochs=3)
    assert found[:4] == pytest.approx([1 / 3, 2 / 3, 1.0, 1.0])


@pytest.mark.parametrize(
    "options",
    [{}, {"name": "plateau", "patience": 1}, {"name": "cosine"}],
    ids=["none", "plateau", "cosine"],
)
@pytest.mark.parametrize("warmup", [0, 3])
@pytest.mark.parametrize("cut", [1, 3, 5])
def test_schedule_state_continues_where_it_was(
    options: dict[str, Any], warmup: int, cut: int
) -> None:
    import json

    config = ScheduleConfig(warmup_epochs=warmup, **options)
    losses = [3.0, 1.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0]
    whole = rates(losses, **config.model_dump())
    found: list[float] = []
    state, groups = None, None
    for part in (losses[:cut], losses[cut:]):
        optimizer = torch.optim.SGD(Two().parameters(), lr=1.0)
        schedule = Schedule(config, optimizer, epochs=len(losses))
        if state is not None:
            optimizer.load_state_dict({"state": {}, "param_groups": groups})
            schedule.load_state_dict(json.loads(state))
        for loss in part:
            found.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step_epoch()
            schedule.step_evaluation(4 - loss, loss)
        state = json.dumps(schedule.state_dict())
        groups = optimizer.state_dict()["param_groups"]
    assert found == whole
