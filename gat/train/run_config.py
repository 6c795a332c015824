"""What every training run is told, whatever it trains on: optimiser, schedule, stopping, clipping,
checkpoints, and how far, on what and from which seed. :mod:`gat.train.config` adds what node
classification is told, :mod:`gat.train.examples_config` what sequences and images are.
"""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from gat.errors import ConfigError
from gat.train.config_errors import Section

__all__ = [
    "CheckpointConfig",
    "ClipConfig",
    "Count",
    "CountOrZero",
    "Fraction",
    "NotNegative",
    "OptimizerConfig",
    "Positive",
    "RunConfig",
    "ScheduleConfig",
    "Share",
    "StoppingConfig",
    "refuse_unread",
]

Count = Annotated[int, Field(ge=1)]
CountOrZero = Annotated[int, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Share = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
# Files have lists where Python has tuples.
_AsTuple = BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value)
Betas = Annotated[tuple[Fraction, Fraction], _AsTuple]
Bounds = Annotated[tuple[float, float], _AsTuple]


def refuse_unread(section: Section, chosen: str, readers: dict[str, tuple[str, ...]]) -> None:
    """ValueError for an option that was set and that ``chosen`` does not read; readers: of each
    option the names that do."""
    for option, names in readers.items():
        usual = type(section).model_fields[option].default
        if getattr(section, option) != usual and chosen not in names:
            raise ValueError(f"{option} is an option of {' and '.join(names)}; {chosen!r} has none")


class OptimizerConfig(Section):
    """The optimiser, one of torch's. ``weight_decay`` is L2, except in AdamW (decoupled)."""

    name: Literal["adam", "adamw", "rmsprop"] = "adam"
    lr: Positive = 0.005
    weight_decay: NotNegative = 5e-4
    # Adam and AdamW.
    betas: Betas = (0.9, 0.999)
    eps: Positive = 1e-8
    # RMSprop.
    momentum: NotNegative = 0.0
    # RMSprop's smoothing of squared gradients.
    alpha: Fraction = 0.99

    @model_validator(mode="after")
    def _options_have_a_use(self) -> Self:
        adam, rms = ("adam", "adamw"), ("rmsprop",)
        refuse_unread(self, self.name, {"betas": adam, "momentum": rms, "alpha": rms})
        return self


class ScheduleConfig(Section):
    """How the learning rate moves: warm-up from lr/warmup_epochs, then none, plateau or cosine."""

    name: Literal["none", "plateau", "cosine"] = "none"
    warmup_epochs: CountOrZero = 0
    # The rate never falls below this (plateau and cosine).
    min_lr: NotNegative = 0.0
    # Plateau: multiply by `factor` after `patience` evaluations without a better `monitor`.
    factor: Share = 0.5
    patience: CountOrZero = 50
    monitor: Literal["loss", "metric"] = "loss"

    @model_validator(mode="after")
    def _options_have_a_use(self) -> Self:
        plateau = ("plateau",)
        readers = {"min_lr": ("plateau", "cosine"), "factor": plateau}
        refuse_unread(self, self.name, readers | {"patience": plateau, "monitor": plateau})
        return self


class StoppingConfig(Section):
    """When to stop and which epoch's weights to report; see :mod:`gat.train.stopping`."""

    name: Literal["official-gat", "best-val-accuracy", "best-val-loss", "none"] = "official-gat"
    # Evaluations without progress before stopping; 0 never stops early.
    patience: CountOrZero = 100
    # official-gat only: judge by metric and loss, or by one of them (Citeseer: accuracy).
    monitor: Literal["both", "accuracy", "loss"] = "both"

    @model_validator(mode="after")
    def _monitor_has_a_use(self) -> Self:
        refuse_unread(self, self.name, {"monitor": ("official-gat",)})
        return self


class ClipConfig(Section):
    """Gradient clipping, in one of three ways; none by default."""

    name: Literal["none", "value", "norm", "bounds"] = "none"
    # value: every entry into [-value, value].
    value: Positive | None = None
    # norm: the whole gradient scaled down to this 2-norm.
    norm: Positive | None = None
    # bounds: (low, high), maybe unequal, by pattern of the parameter's name; first match holds.
    bounds: dict[str, Bounds] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _options_fit_the_name(self) -> Self:
        given = {k for k in ("value", "norm") if getattr(self, k) is not None}
        given |= {"bounds"} if self.bounds else set()
        wanted = set() if self.name == "none" else {self.name}
        if given != wanted:
            raise ValueError(
                f"clipping by {self.name!r} takes {' '.join(wanted) or 'no option'}, "
                f"got {', '.join(sorted(given)) or 'none'}"
            )
        for pattern, (low, high) in self.bounds.items():
            if not low < high:
                raise ValueError(f"bounds of {pattern!r}: low must be below high, got {low, high}")
        return self


class CheckpointConfig(Section):
    """How often the run is saved. Resuming is exact whatever the cadence: it replays the rest."""

    # Save when this long has passed since the last save (0: not by time).
    every_seconds: NotNegative = 30.0
    # Save after so many epochs (0: not by epochs).
    every_epochs: CountOrZero = 0


class RunConfig(Section):
    """What all runs share. Raises :class:`gat.errors.ConfigError` for unknown keys and impossible
    values."""

    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    stopping: StoppingConfig = StoppingConfig()
    clip: ClipConfig = ClipConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    # Upper limit of epochs.
    epochs: Count = 1000
    # Seed of every generator: weights, dropout, order of what is trained on.
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    # Training targets are moved this far towards uniform; evaluation is never smoothed.
    label_smoothing: Fraction = 0.0
    # bfloat16 runs the forward pass under torch.autocast; weights stay float32.
    precision: Literal["float32", "bfloat16"] = "float32"
    # "auto" (a GPU if there is one), "cpu", "cuda" or "cuda:N".
    device: str = "auto"
    # Evaluate on the validation part every so many epochs.
    evaluate_every: Count = 1

    @field_validator("device")
    @classmethod
    def _device_is_known(cls, value: str) -> str:
        if re.fullmatch(r"auto|cpu|cuda(:\d+)?", value):
            return value
        raise ValueError(f"expected 'auto', 'cpu', 'cuda' or 'cuda:N', got {value!r}")

    @model_validator(mode="after")
    def _warmup_ends(self) -> Self:
        if 0 < self.epochs <= self.schedule.warmup_epochs:
            raise ValueError(
                f"schedule.warmup_epochs must be below epochs ({self.epochs}), "
                f"got {self.schedule.warmup_epochs}"
            )
        return self

    def to_dict(self) -> dict[str, Any]:
        """The resolved configuration as JSON values; ``TrainConfig(**values)`` reads it."""
        return self.model_dump(mode="json")

    def updated(self, **changes: Any) -> Self:
        """A checked copy with some keys changed; dots reach into tables.

        >>> TrainConfig().updated(seed=3, **{"data.split": 1}).data.split
        1
        """
        values = self._kept(changes)
        for path, value in changes.items():
            *tables, key = path.split(".")
            table = values
            for name in tables:
                table = table.setdefault(name, {})
                if not isinstance(table, dict):
                    raise ConfigError(f"{path}: {name} is one value ({table!r}), not a table")
            table[key] = value.model_dump(mode="json") if isinstance(value, Section) else value
        return type(self)(**values)

    def _kept(self, changes: dict[str, Any]) -> dict[str, Any]:
        """The values that ``changes`` come on top of."""
        return self.to_dict()
