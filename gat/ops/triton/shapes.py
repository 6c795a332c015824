"""What kernels are passed: tensors in groups, and what is known when they are compiled.

Triton takes named tuples apart, so a kernel's arguments read as what they are. A tensor that a call
does not have is None, which the compiler knows. Numbers are arguments of a declared type, so that
one compiled kernel serves all of them: chunk, how many edges of a hub are a unit; slope and scale
of the scores; of dropout the draw below which a weight is dropped (threshold), and what the others
are multiplied by (factor).
"""

from typing import Any, NamedTuple

__all__ = ["Edges", "Given", "Incoming", "Shape"]


class Edges(NamedTuple):
    """A CSR and its schedule (`gat.graph.schedule`). number: listed numbers, None where positions
    are; all of one integer dtype."""

    rowptr: Any
    col: Any
    number: Any
    units: Any


class Given(NamedTuple):
    """An operator's inputs. Additive attention's terms of sources, targets and edges are ``key``,
    ``query`` and ``edge``; scores or weights that come worked out are ``edge``."""

    value: Any = None
    key: Any = None
    query: Any = None
    att: Any = None
    edge: Any = None
    edge_value: Any = None


class Incoming(NamedTuple):
    """What the backward kernels are given besides: ``targets`` [num_dst, H, 4], of each its own
    term, highest score, 1 / sum and <grad_out, out>; the gradients of the output and of the
    weights; for the steps the scores [E, H] and their gradient."""

    targets: Any = None
    grad_out: Any = None
    grad_weights: Any = None
    scores: Any = None
    grad_scores: Any = None


class Shape(NamedTuple):
    """What a kernel is compiled for, each a tl.constexpr.

    KIND: "additive", "gatv2", "dot", "given" (scores that come worked out), "weights" (weights that
    do, without a softmax). H heads, C channels of values, K of keys. A tile has BE edges, BH heads,
    BC and BK channels, powers of two. ACC: in what is summed. LARGEST: the largest number of ACC;
    STORED, of what scores are stored in. SHARED: keys are the values. PART: units are hubs'. STATS:
    how many statistics there are of a target and head; RATED: whether those are among them that
    `describe` works out score_dst's gradient from. DROPS: whether weights are dropped.
    """

    KIND: Any
    ACTIVATION: Any
    H: Any
    C: Any
    K: Any
    BE: Any
    BH: Any
    BC: Any
    BK: Any
    ACC: Any
    LARGEST: Any
    STORED: Any
    SHARED: Any
    PART: Any
    STATS: Any
    RATED: Any
    DROPS: Any
