"""The configuration of a run on examples: sentences, sequences, images, documents.

``[model] name`` tells which network; its other keys are that network's options
(:mod:`gat.models`), the sizes of input and output come from the data.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from gat.data import cards
from gat.train.config_errors import Section
from gat.train.run_config import (
    Count,
    CountOrZero,
    Fraction,
    NotNegative,
    OptimizerConfig,
    Positive,
    RunConfig,
    StoppingConfig,
    refuse_unread,
)

__all__ = [
    "AttentionNetConfig",
    "DocumentClassifierConfig",
    "ExampleDataConfig",
    "ExamplesConfig",
    "ExamplesModel",
    "Seq2SeqConfig",
    "SequenceClassifierConfig",
    "TransformerConfig",
]


class ExampleDataConfig(Section):
    """What to train on: a data set of examples by name."""

    # A data set's name; see `gat datasets`.
    name: str
    # The data set's own options, say {length = 500} of recall; those left out are its card's.
    options: dict[str, int | float | str | bool] = Field(default_factory=dict)
    # The folder looked in first for the data; those that are made need none.
    root: str | None = None
    # Of several splits which; those that are made have one.
    split: Literal[0] = 0

    @model_validator(mode="before")
    @classmethod
    def _options_are_whole(cls, values: Any) -> Any:
        """All options stand in the configuration, so that no run and no stored result is taken for
        one on other data when those of the card change."""
        name = values.get("name") if isinstance(values, dict) else None
        card = cards().get(name) if isinstance(name, str) else None
        given = {} if card is None else values.get("options", {})
        if card is None or not isinstance(given, dict):
            return values
        return {**values, "options": {**card.options, **given}}


class Seq2SeqConfig(Section):
    """:class:`gat.models.Seq2Seq`."""

    name: Literal["seq2seq"]
    attention: Literal[
        "none",
        "bahdanau",
        "normed-bahdanau",
        "luong-dot",
        "luong-general",
        "luong-concat",
        "scaled-luong",
        "monotonic",
        "local",
        "local-m",
    ] = "bahdanau"
    normalizer: str = "softmax"
    # Local attention: places looked at to either side.
    window: Count = 10
    hidden_channels: Count = 128
    embedding_channels: Count = 64
    cell: Literal["gru", "lstm"] = "gru"
    layers: Count = 1
    dropout: Fraction = 0.0
    # Luong's attention: whether what it found enters the next step.
    input_feeding: bool = False

    @model_validator(mode="after")
    def _windows_are_local(self) -> Self:
        refuse_unread(self, self.attention, {"window": ("local", "local-m")})
        return self


class TransformerConfig(Section):
    """:class:`gat.models.Transformer`."""

    name: Literal["transformer"]
    channels: Count = 128
    heads: Count = 4
    encoder_layers: Count = 2
    decoder_layers: Count = 2
    feedforward: Count = 256
    dropout: Fraction = 0.1
    norm: Literal["post", "pre"] = "pre"


class SequenceClassifierConfig(Section):
    """:class:`gat.models.SequenceClassifier`."""

    name: Literal["sequence-classifier"]
    cell: Literal["rnn", "lstm", "gru", "janet", "indrnn", "attentive-rnn", "attentive-lstm"] = (
        "lstm"
    )
    # Attentive cells: where the context goes, how states are scored; None: the cell's default.
    form: Literal["replace", "input", "both"] | None = None
    score: str | None = None
    normalizer: str | None = None
    projections: Literal["none", "query_key", "all"] | None = None
    # JANET and IndRNN: steps to be remembered over.
    memory: Count | None = None
    hidden_channels: Count = 64
    layers: Count = 1
    bidirectional: bool = False
    readout: Literal["last", "mean", "attention"] = "last"
    dropout: Fraction = 0.0


class DocumentClassifierConfig(Section):
    """:class:`gat.models.DocumentClassifier`."""

    name: Literal["document-classifier"]
    pooling: Literal["hierarchical", "flat"] = "hierarchical"
    encoder: Literal["gru", "none", "self-attention"] = "gru"
    channels: Count = 32
    dropout: Fraction = 0.0


class AttentionNetConfig(Section):
    """:class:`gat.models.AttentionNet`."""

    name: Literal["attention-net"]
    # Of the residual blocks.
    widths: list[Count] = Field(default_factory=lambda: [64, 128, 256])
    strides: list[Count] = Field(default_factory=lambda: [1, 2, 1])
    attention: Literal["after", "before", "pool", "none"] = "after"
    # Pixels at most so far away are looked at; None: all.
    radius: Count | None = None
    # "zero": the attention stays switched off, the ablation.
    gamma: Literal["learned", "zero"] = "learned"
    dropout: Fraction = 0.0


ExamplesModel = Annotated[
    Seq2SeqConfig
    | TransformerConfig
    | SequenceClassifierConfig
    | DocumentClassifierConfig
    | AttentionNetConfig,
    Field(discriminator="name"),
]


class ExamplesOptimizerConfig(OptimizerConfig):
    """As :class:`OptimizerConfig`, with the defaults of these networks."""

    lr: Positive = 1e-3
    weight_decay: NotNegative = 0.0


class ExamplesConfig(RunConfig):
    """One run on examples. Raises :class:`gat.errors.ConfigError` for unknown keys and impossible
    values."""

    data: ExampleDataConfig
    model: ExamplesModel
    optimizer: ExamplesOptimizerConfig = ExamplesOptimizerConfig()
    stopping: StoppingConfig = StoppingConfig(name="best-val-accuracy", patience=0)
    epochs: Count = 20
    # Examples in a step, and in a batch of evaluation.
    batch_size: Count = 64
    # Images: random shifts of training images by up to so many pixels.
    shift: CountOrZero = 0
    # Translation: the longest answer, and the beam's width in the final scores (0: no beam).
    max_length: Count = 64
    beam_width: CountOrZero = 4

    def _kept(self, changes: dict[str, Any]) -> dict[str, Any]:
        """Another data set, and another network, come with their own options."""
        values = super()._kept(changes)
        if changes.get("data.name", self.data.name) != self.data.name:
            del values["data"]["options"]
        if changes.get("model.name", self.model.name) != self.model.name:
            values["model"] = {}
        return values

    @model_validator(mode="after")
    def _options_are_read(self) -> Self:
        translators = ("seq2seq", "transformer")
        readers = {"max_length": translators, "beam_width": translators}
        refuse_unread(self, self.model.name, readers | {"shift": ("attention-net",)})
        return self
