"""`gat bench`: what can be measured, one dataclass per sub-command, help included."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import FlagCreatePairsOff, Positional, arg

from gat.cli.arguments import NUMBER, WHOLE, File, Names, given

__all__ = ["Conv", "Inspect", "Layer", "Measured", "Model", "Scaling", "Sparse", "Step"]

Operator = Literal["gat", "gatv2", "dot"]
Count = Annotated[int, WHOLE]
Size = Annotated[int | None, WHOLE, given("N")]
KIND = given("{record,gatt,rollout}", "(default: record)")


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What every measurement has."""

    threads: Annotated[int | None, WHOLE, given("N", "(default: torch's own number)")] = None
    """Threads."""
    repeats: Count = 7
    """Samples of each peer, taken in turn; their median counts."""
    output: Annotated[Path | None, given("FILE", "(default: a new one under runs/)")] = None
    """Where the record goes (JSON): every sample, versions, machine, commit."""
    plot: File = None
    """Draw the figures too (.png, .pdf, .svg); needs the extra plot."""


@dataclass(frozen=True, kw_only=True)
class OnGraph(Measured):
    """What is measured on one graph, under both malloc modes."""

    graph: Annotated[str, arg(metavar="NAME")] = "arxiv-size"
    """arxiv-size, products-size, reddit-size, one-hub, no-hub, uniform-NM (N million edges), or a
    data set: cora, ..."""
    fraction: Annotated[float, NUMBER] = 1.0
    """Share of the graph's edges."""
    malloc: Names = ("default", "kept")
    """How the C library treats freed memory: default, or kept for the next tensor."""


@dataclass(frozen=True, kw_only=True)
class Layer(OnGraph):
    """The edge part of one attention layer, forward and backward.

    Peers: gat (ours, as a user has it), cpu, triton, blockwise and reference (ours by backend),
    pyg, pyg-sorted (its edges sorted by target), pyg-compiled (under torch.compile), torch (a
    sparse product per head), dgl and turbo-gnn where they are installed. Their outputs and
    gradients are first held against the float64 reference; no speed of wrong results is told.
    PyG sums in the inputs' dtype, which in 16 bits is too coarse for nodes of many edges.

    Examples: `gat bench layer --operator gatv2 --fraction 0.4 --peers gat,pyg`, `gat bench layer
    --device cuda --dtype bfloat16`.
    """

    operator: Operator = "gat"
    """Which attention."""
    heads: Count = 8
    """Heads."""
    channels: Count = 32
    """Channels per head."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where. On a GPU every sample is of 15 runs, timed by device events."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Of the features and scores; what is tolerated follows it."""
    malloc: Annotated[Names, given("NAME,NAME", "(default: default,kept; on cuda default)")] = ()
    """How the C library treats freed memory: default, or kept for the next tensor. A GPU has one
    mode, default."""
    peers: Annotated[
        Names, given("NAME,NAME", "(default: gat,pyg,torch; of 16 bits gat,blockwise)")
    ] = ()
    """Who is measured."""

    def run(self) -> None:
        from gat.cli.bench import layer_command

        layer_command(self)


@dataclass(frozen=True, kw_only=True)
class Model(OnGraph):
    """A training step of PyG's GAT model: forward, backward, Adam's update.

    Peers: accelerated (the model after gat.accelerate), pyg (as it was). The graph's nodes get
    random features and labels, all of them in the loss; there is no dropout. What both compute is
    first held against float64.

    Example: `gat bench model --graph cora --features 1433 --classes 7`.
    """

    layers: Count = 3
    """Layers."""
    heads: Count = 4
    """Heads of every layer; the last one averages them."""
    channels: Count = 32
    """Channels per head of all layers but the last."""
    features: Count = 128
    """Features of a node."""
    classes: Count = 40
    """Classes."""
    v2: Annotated[FlagCreatePairsOff[bool], given(None)] = False
    """Layers are GATv2Conv rather than GATConv."""
    peers: Names = ("accelerated", "pyg")
    """Who is measured."""

    def run(self) -> None:
        from gat.cli.bench import shaped_command

        shaped_command(self, "ModelShape", "measure_model")


@dataclass(frozen=True, kw_only=True)
class Conv(OnGraph):
    """One whole layer, projections and all, forward and backward.

    Peers: gat (AttentionConv of any score and normalizer), pyg (its GATConv for the score additive,
    GATv2Conv for gatv2, TransformerConv for dot and scaled_dot, of the same size, with its
    softmax). Each is first held against its own definition in float64.

    Example: `gat bench conv --score gatv2 --normalizer entmax15 --fraction 0.4`.
    """

    score: Annotated[str, arg(metavar="NAME")] = "additive"
    """How edges are scored: additive, gatv2, mlp, dot, ...; see gat.nn.scores."""
    normalizer: Annotated[str, arg(metavar="NAME")] = "softmax"
    """How scores become weights: softmax, entmax15, topk, ...; see gat.nn.normalizers."""
    heads: Count = 8
    """Heads."""
    channels: Count = 32
    """Channels per head."""
    features: Count = 128
    """Features of a node."""
    peers: Names = ("gat", "pyg")
    """Who is measured."""

    def run(self) -> None:
        from gat.cli.bench import shaped_command

        shaped_command(self, "ConvShape", "measure_conv")


@dataclass(frozen=True, kw_only=True)
class Scaling(Measured):
    """Time per edge of one layer on growing graphs."""

    operator: Operator = "gat"
    """Which attention."""
    heads: Count = 8
    """Heads."""
    channels: Count = 8
    """Channels per head."""
    graphs: Names = ("uniform-1M", "uniform-4M", "uniform-16M", "uniform-60M")
    """The graphs, as `gat bench layer --graph` names them."""
    peers: Names = ("gat",)
    """Who is measured."""
    malloc: Names = ("kept",)
    """How the C library treats freed memory: default, or kept for the next tensor."""

    def run(self) -> None:
        from gat.cli.bench import scaling_command

        scaling_command(self)


@dataclass(frozen=True, kw_only=True)
class Step(Measured):
    """An epoch of training: a step with all its dropouts, then the validation pass.

    Peers: gat (`gat train` itself, by the data set's recipe), pyg (the same recipe in a plain loop
    over PyG's layers), drop-in (that loop with the import changed to gat.nn).
    """

    dataset: Annotated[Positional[str], given("[DATASET]", "(default: cora)")] = "cora"
    """A data set whose recipe a plain loop can follow: cora, citeseer, pubmed."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where."""
    peers: Names = ("gat", "pyg", "drop-in")
    """Who is measured."""
    malloc: Names = ("default",)
    """How the C library treats freed memory: default, or kept for the next tensor."""

    def run(self) -> None:
        from gat.cli.bench import step_command

        step_command(self)


@dataclass(frozen=True, kw_only=True)
class Sparse(Measured):
    """The first layer's product over features that are mostly zero, with dropout, both ways.

    Peers: gat (ours), dense (every entry), torch (a CSR matrix).
    """

    dataset: Annotated[Positional[str], given("[DATASET]", "(default: cora)")] = "cora"
    """A data set."""
    channels: Count = 64
    """Outputs of the product."""
    peers: Names = ("gat", "dense", "torch")
    """Who is measured."""
    malloc: Names = ("default",)
    """How the C library treats freed memory: default, or kept for the next tensor."""

    def run(self) -> None:
        from gat.cli.bench import sparse_command

        sparse_command(self)


@dataclass(frozen=True, kw_only=True)
class Inspect(Measured):
    """What looking inside costs: recording attention, or attribution through layers.

    record: a forward pass without gradients, plain beside recorded, time and memory. gatt, rollout:
    their time for a node drawn at random (node), for the one that most edges enter (hub), for every
    node in one call (all). Records and scores are first held to their definitions.

    Example: `gat bench inspect record --graph arxiv-size --layers 1 --self-loops`.
    """

    kind: Annotated[Positional[Literal["record", "gatt", "rollout"]], KIND] = "record"
    """record, gatt or rollout."""
    graph: Annotated[str, arg(metavar="NAME")] = "cora"
    """A data set, with its recipe's model; or arxiv-size, products-size, uniform-NM (GATConv)."""
    dense: Annotated[FlagCreatePairsOff[bool], given(None)] = False
    """A data set's features as a dense matrix, rather than as gat train feeds them."""
    self_loops: Annotated[FlagCreatePairsOff[bool], given(None)] = False
    """Every second node has its self-loop among the edges."""
    layers: Size = None
    """Layers of GATConv on a synthetic graph (default: 2)."""
    heads: Size = None
    """Their heads (default: 8)."""
    channels: Size = None
    """Channels per head (default: 32)."""
    features: Size = None
    """Features of a node (default: 128)."""
    peers: Annotated[Names, given("NAME,NAME", "(default: plain,recorded or node,hub)")] = ()
    """Who is measured."""
    malloc: Names = ("default",)
    """How the C library treats freed memory: default, or kept for the next tensor."""

    def run(self) -> None:
        from gat.cli.bench import inspect_command

        inspect_command(self)
