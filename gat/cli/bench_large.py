"""`gat bench`: what is measured of large graphs, one dataclass per sub-command, help included."""

from dataclasses import dataclass
from typing import Annotated

from tyro.conf import FlagCreatePairsOff, arg

from gat.cli.arguments import NUMBER, WHOLE, Counts, Names, given
from gat.cli.bench_measured import Measured

__all__ = ["Inference", "Load", "Sample", "Sequence", "Train"]

Count = Annotated[int, WHOLE]


@dataclass(frozen=True, kw_only=True)
class Sequence(Measured):
    """Attention over a long sequence, forward and backward: a window of tokens each way, or all.

    Peers: gat (ours, on gat.topology's graph), sdpa (torch's scaled_dot_product_attention, with a
    mask where there is a window), flex (torch's compiled flex_attention, left out where it has no
    backward). Memory counts the mask, or our graph. Outputs and gradients are first held against
    the float64 reference.

    Example: `gat bench sequence --tokens 4096 --width 32 --causal`.
    """

    tokens: Count = 16_384
    """Tokens."""
    width: Count = 128
    """How many tokens away a token looks, each way."""
    complete: Annotated[FlagCreatePairsOff[bool], given(None)] = False
    """At all tokens rather than at a window."""
    causal: Annotated[FlagCreatePairsOff[bool], given(None)] = False
    """At none that come after it."""
    heads: Count = 8
    """Heads."""
    channels: Count = 64
    """Channels per head."""
    peers: Names = ("gat", "sdpa", "flex")
    """Who is measured."""
    malloc: Names = ("default",)
    """How the C library treats freed memory: default, or kept for the next tensor."""

    def run(self) -> None:
        from gat.cli.bench import sequence_command

        sequence_command(self)


@dataclass(frozen=True, kw_only=True)
class Sample(Measured):
    """Edges a second that a neighbour sampler draws, on one thread.

    Peers: gat (ours: nodes, and edges under local numbers), layers (ours, with each layer's graph
    in both directions and self-loops), torch (one written in torch alone, with replacement). Ours
    is first held, edge for edge, to its definition in Python.

    Example: `gat bench sample --fanouts 10,10,10`.
    """

    graph: Annotated[str, arg(metavar="NAME")] = "arxiv-size"
    """arxiv-size, products-size, uniform-NM, or a data set."""
    fanouts: Counts = (15, 10)
    """Neighbours a node, from the seeds on; -1 for all."""
    batch_size: Count = 1024
    """Seeds in a batch."""
    peers: Names = ("gat", "layers", "torch")
    """Who is measured."""
    malloc: Names = ("default",)
    """How the C library treats freed memory: default, or kept for the next tensor."""

    def run(self) -> None:
        from gat.cli.bench import shaped_command

        shaped_command(self, "SampleShape", "measure_sampling")


@dataclass(frozen=True, kw_only=True)
class Train(Measured):
    """An epoch of training on sampled neighbours or, with --full, on the whole graph.

    Sampled: GATConv, ELU, Adam. Peers: gat (`gat train`), pyg (the loop of PyG's examples over its
    GATConv, with the same batches), pyg-trimmed (the same with trim_to_layer). Full: the network of
    OGB's arxiv recipes, and what the process holds; peers gat and pyg. Logits and gradients are
    first held against float64.

    Example: `gat bench train --graph uniform-1M --steps 20`.
    """

    graph: Annotated[str, arg(metavar="NAME")] = "arxiv-size"
    """arxiv-size or products-size (planted replicas), or uniform-NM (N million edges at random)."""
    full: Annotated[FlagCreatePairsOff[bool], given(None)] = False
    """Train on the whole graph at once."""
    fanouts: Annotated[Counts, given("N,N", "(default: 10 for each layer)")] = ()
    """Neighbours a node, from the training nodes on; -1 for all."""
    batch_size: Annotated[int | None, WHOLE, given("N", "(default: 1024)")] = None
    """Training nodes in a batch."""
    steps: Annotated[int | None, WHOLE, given("N", "(default: all of the epoch's)")] = None
    """Steps of an epoch, at most."""
    layers: Count = 3
    """Layers."""
    heads: Annotated[int | None, WHOLE, given("N", "(default: 4; with --full 3)")] = None
    """Heads."""
    channels: Annotated[int | None, WHOLE, given("N", "(default: 32; with --full 250)")] = None
    """Channels per head."""
    peers: Annotated[Names, given("NAME,NAME", "(default: all)")] = ()
    """Who is measured."""
    malloc: Annotated[Names, given("NAME,NAME", "(default: default,kept; --full: default)")] = ()
    """How the C library treats freed memory: default, or kept for the next tensor."""

    def run(self) -> None:
        from gat.cli.bench import train_command

        train_command(self)


@dataclass(frozen=True, kw_only=True)
class Inference(Measured):
    """Layer-wise inference of all nodes of a large graph: time and what the process holds.

    Peer: gat (gat.train.predict). The graph is made and written by a process of its own, then
    mapped. Each layer is first held, on some nodes, against float64.

    Example: `gat bench inference --graph arxiv-size --room 0.5 --repeats 1`.
    """

    graph: Annotated[str, arg(metavar="NAME")] = "products-size"
    """arxiv-size or products-size (planted replicas), or uniform-NM (N million edges at random)."""
    layers: Count = 3
    """Layers."""
    heads: Count = 4
    """Heads of every layer; the last one averages them."""
    channels: Count = 32
    """Channels per head of all layers but the last."""
    room: Annotated[float, NUMBER] = 4.0
    """GiB that a part of a layer may take."""
    peers: Names = ("gat",)
    """Who is measured."""
    malloc: Names = ("default",)
    """How the C library treats freed memory: default, or kept for the next tensor."""

    def run(self) -> None:
        from gat.cli.bench import shaped_command

        shaped_command(self, "InferenceShape", "measure_inference")


@dataclass(frozen=True, kw_only=True)
class Load(Measured):
    """Loading OGB's raw csv.gz files, of a replica of ogbn-arxiv.

    Peers: first (gat.data.load where nothing of them is kept yet), later (the same from then on,
    from a mapped copy), pandas (read_csv of the same files, nothing else). What is loaded is first
    held, entry for entry, against what pandas reads.

    Example: `gat bench load --scale 0.1`.
    """

    scale: Annotated[float, NUMBER] = 1.0
    """Size of the replica; 1 has as many nodes and edges as ogbn-arxiv."""
    peers: Names = ("first", "later", "pandas")
    """Who is measured."""
    malloc: Names = ("default",)
    """How the C library treats freed memory: default, or kept for the next tensor."""

    def run(self) -> None:
        from gat.cli.bench import shaped_command

        shaped_command(self, "LoadShape", "measure_load")
