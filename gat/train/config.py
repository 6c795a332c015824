"""The configuration of one training run on nodes: what to train on, what to train, and how.

Everything that can be refused is refused here, before any data is read. Loading from and writing
to files is in :mod:`gat.train.config_files`; the sentences of refusal in ``config_errors``.
"""

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from gat.machine import parse_bytes
from gat.train.config_errors import Section
from gat.train.run_config import (
    CheckpointConfig,
    ClipConfig,
    Count,
    CountOrZero,
    Fraction,
    NotNegative,
    OptimizerConfig,
    RunConfig,
    ScheduleConfig,
    Share,
    StoppingConfig,
)
from gat.train.sampling_config import SamplingConfig
from gat.train.tricks_config import CorrectAndSmoothConfig, DistillationConfig, LabelsConfig

__all__ = [
    "CheckpointConfig",
    "ClipConfig",
    "CorrectAndSmoothConfig",
    "DataConfig",
    "DistillationConfig",
    "FilesConfig",
    "LabelsConfig",
    "ModelConfig",
    "OptimizerConfig",
    "SamplingConfig",
    "ScheduleConfig",
    "StoppingConfig",
    "TrainConfig",
]


class FilesConfig(Section):
    """How files of one's own are read: the options of :func:`gat.data.from_files`."""

    # Columns with node ids, the two ends of an edge, and train/val/test; None finds them.
    id: str | None = None
    source: str | None = None
    target: str | None = None
    split: str | None = None
    # Columns to use (None: all the others), to leave out, to read as texts.
    features: list[str] | None = None
    ignore: list[str] = Field(default_factory=list)
    categorical: list[str] = Field(default_factory=list)
    standardize: bool = False
    directed: bool = False
    # What to do with an edge that names a missing node.
    unknown: Literal["error", "drop"] = "error"
    # Random splits, where there is no column: shares of the labelled nodes, how many, their seed.
    train: Share = 0.6
    val: Share = 0.2
    splits: Count = 1
    seed: CountOrZero = 0


class DataConfig(Section):
    """What to train on: a data set by name, or files of one's own (edges, nodes, label)."""

    # A data set's name; see `gat datasets`.
    name: str = "digits"
    # The folder looked in first for the data; then GAT_DATA, then the user's cache.
    root: str | None = None
    # Which of the data set's splits, counted from 0.
    split: CountOrZero = 0
    # "row" divides each node's features by their sum (the official recipe for Cora).
    normalize_features: Literal["none", "row"] = "none"
    # "sparse" multiplies the features as a sparse matrix, "auto" does so where most are zero.
    features: Literal["auto", "dense", "sparse"] = "auto"
    # Whether the scores of attention depend on the features of edges, where edges have any.
    edge_features: bool = True
    # Add the reverse of every edge that lacks it.
    undirected: bool = False
    # Whether missing files may be fetched.
    download: bool = True
    # Refuse NaN and infinity in the features.
    check_finite: bool = True
    # Accept a node that is in two parts of the split (a leak).
    allow_overlap: bool = False
    # A graph of one's own: a file of edges (CSV, or npz/GraphML holding all) ...
    edges: str | None = None
    # ... a CSV of nodes ...
    nodes: str | None = None
    # ... and the column that is to be predicted.
    label: str | None = None
    # ... and how to read them.
    files: FilesConfig = FilesConfig()

    @model_validator(mode="after")
    def _files_belong_together(self) -> Self:
        if self.edges is None and (self.nodes is not None or self.label is not None):
            raise ValueError("nodes and label describe a graph of one's own; edges is missing")
        return self


class ModelConfig(Section):
    """The options of :class:`gat.models.GAT`; sizes of input and output come from the data."""

    hidden_channels: Count = 8
    num_layers: Count = 2
    # Heads of every hidden layer, or one number per hidden layer.
    heads: int | list[int] = 8
    output_heads: Count = 1
    attention: Literal["gat", "gatv2"] = "gat"
    # Concatenate a hidden layer's heads rather than average them.
    concat: bool = True
    # Fraction on layer inputs, on attention weights, on projected values.
    feature_dropout: Fraction = 0.6
    # On the network's input, where it differs from feature_dropout.
    input_dropout: Fraction | None = None
    attention_dropout: Fraction = 0.6
    value_dropout: Fraction = 0.6
    # Fraction of the edges left out of a layer's softmax, for all its heads.
    edge_dropout: Fraction = 0.0
    activation: Literal["elu", "relu", "leaky_relu", "gelu"] = "elu"
    norm: Literal["none", "batch", "layer"] = "none"
    # A learned projection, or the input as it is where widths match, is added to each hidden layer.
    residual: Literal["none", "linear", "identity"] = "none"
    # A learned projection is added to the attention layer that gives the classes.
    residual_output: bool = False
    jumping_knowledge: Literal[
        "none",
        "cat",
        "max",
        "lstm",
        "rnn",
        "gru",
        "janet",
        "indrnn",
        "attentive-rnn",
        "attentive-lstm",
        "attention",
    ] = "none"
    linear_input: bool = False
    linear_output: bool = False
    # Weight messages by the square roots of both degrees.
    symmetric_norm: bool = False
    # Whether the target has a term in the score; false needs attention = "gat".
    target_score: bool = True
    # One projection for sources and targets; true needs attention = "gatv2".
    share_weights: bool = False
    add_self_loops: bool = True
    negative_slope: NotNegative = 0.2
    bias: bool = True
    # In the layer that gives the classes, where it differs from bias (a linear one has a bias).
    output_bias: bool | None = None
    # Features to which each layer projects those of edges first (linear, ReLU); 0: none.
    edge_embedding: CountOrZero = 0

    @field_validator("heads", mode="before")
    @classmethod
    def _heads_are_counts(cls, value: object) -> object:
        numbers = value if isinstance(value, list) and value else [value]
        if all(isinstance(n, int) and not isinstance(n, bool) and n >= 1 for n in numbers):
            return value
        raise ValueError(f"expected a number >= 1, or a list of such, got {value!r}")

    @model_validator(mode="after")
    def _options_belong_together(self) -> Self:
        if not self.target_score and self.attention != "gat":
            raise ValueError(
                f'target_score = false leaves out a term of attention = "gat", got '
                f"{self.attention!r}"
            )
        if self.share_weights and self.attention != "gatv2":
            raise ValueError(
                f'share_weights = true is an option of attention = "gatv2", got {self.attention!r}'
            )
        if self.residual_output and (self.linear_output or self.jumping_knowledge != "none"):
            raise ValueError(
                "residual_output is a skip over an attention layer that gives the classes; with "
                "linear_output or jumping_knowledge a linear layer gives them"
            )
        return self


class TrainConfig(RunConfig):
    """One run of node classification. The defaults are the official recipe for Cora, on the
    offline digits.

    Raises :class:`gat.errors.ConfigError` for unknown keys and impossible values.
    """

    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    labels: LabelsConfig = LabelsConfig()
    distillation: DistillationConfig = DistillationConfig()
    correct_and_smooth: CorrectAndSmoothConfig = CorrectAndSmoothConfig()
    sampling: SamplingConfig = SamplingConfig()
    # Of training and of validation; "log-eps" is log(eps + z) - log(eps) of each cross entropy z,
    # eps = 1 - log 2 (gat.train.metrics).
    loss: Literal["cross-entropy", "log-eps"] = "cross-entropy"
    # The most memory that training may be predicted to need, such as "16GiB" or "800MB"; more is
    # refused, or sampled (see gat.train.budget). None: no limit.
    memory_budget: str | None = None
    # Inductive tasks: graphs joined into one batch.
    graphs_per_batch: Count = 2

    @field_validator("memory_budget")
    @classmethod
    def _budget_is_an_amount(cls, value: str | None) -> str | None:
        if value is not None:
            parse_bytes(value)
        return value

    @model_validator(mode="after")
    def _sparse_is_float32(self) -> Self:
        if self.data.features == "sparse" and self.precision != "float32":
            raise ValueError(
                'data.features = "sparse" needs precision = "float32", since torch multiplies '
                "sparse matrices in float32 and wider only"
            )
        return self

    @model_validator(mode="after")
    def _labels_as_inputs_are_dense_and_apart(self) -> Self:
        if self.labels.inputs and self.data.features == "sparse":
            raise ValueError(
                'labels.inputs joins labels to dense features; set data.features to "auto" or '
                '"dense" (which it makes dense), not "sparse"'
            )
        users = [("labels.inputs", self.labels.inputs)]
        users += [("correct_and_smooth.enabled", self.correct_and_smooth.enabled)]
        for name, on in users:
            if on and self.data.allow_overlap:
                raise ValueError(
                    f"{name} would show a node that is in two parts its own label before it is "
                    f"tested on it; set data.allow_overlap = false, or {name} = false"
                )
        return self

    @model_validator(mode="after")
    def _a_hop_for_each_layer(self) -> Self:
        fanouts, layers = self.sampling.fanouts(self.model.num_layers), self.model.num_layers
        if len(fanouts) != layers:
            raise ValueError(
                f"sampling.num_neighbors has {len(fanouts)} numbers, {fanouts}, and "
                f"model.num_layers is {layers}; expected one for each attention layer"
            )
        return self

    @model_validator(mode="after")
    def _reuse_predicts_every_node(self) -> Self:
        if self.labels.reuse and self.sampling.name == "neighbor":
            raise ValueError(
                "labels.reuse feeds back what is predicted for every node of a batch, of which "
                "sampled neighbourhoods have the seeds only; set labels.reuse = 0, or "
                'sampling.name to "none", "cluster", "random-node" or "random-walk"'
            )
        return self

    @model_validator(mode="after")
    def _sampled_features_are_dense(self) -> Self:
        if self.sampling.on and self.data.features == "sparse":
            raise ValueError(
                'data.features = "sparse" is of whole graphs; a sampled batch has dense rows: set '
                'data.features to "auto" or "dense", or sampling.name to "none"'
            )
        return self
