"""What our drop-ins for PyTorch Geometric's attention layers share: its conventions, kept exactly.

PyG's behaviours that surprise are kept too, and said aloud once (`warn_once`). What our operators
cannot serve (explanation masks, hooks inside message passing, other aggregations) goes PyG's way.
"""

import inspect
from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch_geometric import EdgeIndex
from torch_geometric.nn import MessagePassing
from torch_geometric.utils import is_torch_sparse_tensor
from torch_geometric.utils.sparse import set_sparse_value

from gat.errors import ArgumentTypeError, InputError
from gat.graph import Graph, graph_of, loop_features
from gat.nn.batched import batch_size, split_batch
from gat.nn.changes import Change, Weighing
from gat.nn.edges import as_csr, check_size, known_targets, stored_features
from gat.nn.features import target_rows
from gat.nn.forms import Attended, Form
from gat.notices import warn_once
from gat.ops import aggregate
from gat.ops.dropout import drop_weights

__all__ = [
    "DropIn",
    "check_features",
    "check_one_tensor",
    "check_pair",
    "extend_signature",
    "is_one_set",
]

# Methods of message passing that a subclass, or an instance, may replace.
STEPS = ("message", "edge_update", "aggregate", "update", "message_and_aggregate")
GENERATED = ("propagate", "edge_updater")
HOOKS = tuple(
    f"_{step}_forward{when}_hooks"
    for step in ("propagate", "message", "aggregate", "message_and_aggregate", "edge_update")
    for when in ("_pre", "")
)


def extend_signature(base: type) -> Callable[[type], type]:
    """Class decorator: ``help()`` shows the parameters of PyG's ``base``, then those of ours."""

    def decorate(layer: type) -> type:
        pygs = inspect.signature(base)
        *named, rest = pygs.parameters.values()
        ours = [cls for cls in reversed(layer.__mro__) if not issubclass(base, cls)]
        made = [cls for cls in ours if "__init__" in vars(cls)]
        given = [p for cls in made for p in inspect.signature(cls).parameters.values()]
        extra = {p.name: p for p in given if p.kind is inspect.Parameter.KEYWORD_ONLY}
        layer.__signature__ = pygs.replace(  # type: ignore[attr-defined]
            parameters=[*named, *extra.values(), rest]
        )
        return layer

    return decorate


class DropIn(MessagePassing):
    """What every drop-in does before and after its operator; PyG's class supplies the parameters.

    It holds no attribute of its own beyond class defaults: `gat.accelerate` turns a PyG layer into
    a drop-in by changing its class.
    """

    # Of layers that know no such option; the others set it.
    add_self_loops: bool = False
    fill_value: Any = "mean"
    # What interventions make of the attention; set on the instance while one is in force.
    _changes: tuple[Change, ...] = ()
    # Further methods of a layer that its message passing consists of.
    _own_steps: tuple[str, ...] = ()
    _overridden: tuple[str, ...] = ()
    # Set while the layer is being recorded: `_with_weights` then hands out the graph and the
    # weights that were summed by, those after dropout.
    _recorded: bool = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        steps = (*STEPS, *cls._own_steps, *GENERATED)
        mine = tuple(step for step in steps if step in cls.__dict__)
        cls._overridden = cls._overridden + mine
        # PyG writes a faster `propagate` onto each class at first use, and its explainers go back
        # to the one it found: under a subclass that must be the original, not the parent's.
        for step in GENERATED:
            if step not in cls._overridden:
                setattr(cls, step, getattr(MessagePassing, step))

    def _goes_pygs_way(self, edge_index: Any, x: Any = None, **asked: bool) -> bool:
        """Whether only PyG's own path gives what was asked for.

        Raises InputError if PyG's path does not know something that was asked for as well: a
        Graph, a batch of features ``x``, our own options, or what else is named in ``asked``.
        """
        why = self._why_pygs_way(edge_index)
        if not why:
            return False
        ours = {
            "a gat.Graph": isinstance(edge_index, Graph),
            "a batch of features": _is_batch(x),
            "an intervention on its attention": bool(self._changes),
            **self._own_options(),
            **asked,
        }
        refused = [name for name, wanted in ours.items() if wanted]
        if refused:
            raise InputError(
                f"{type(self).__name__} {why}, which runs through PyG's code, and {refused[0]} "
                f"cannot; leave out one of the two"
            )
        return True

    def _own_options(self) -> dict[str, bool]:
        """Options PyG's code does not know, and whether they are asked for."""
        return {}

    def _why_pygs_way(self, edge_index: Any) -> str:
        if self.explain:
            return "is being explained"
        if any(getattr(self, hooks) for hooks in HOOKS):
            return "has hooks inside message passing"
        steps = (*STEPS, *self._own_steps)
        if self._overridden or any(step in self.__dict__ for step in steps):
            return "has message passing methods overridden"
        if self.aggr not in ("add", "sum"):
            return f"aggregates by {self.aggr!r}"
        if type(edge_index).__name__ == "SparseTensor":
            return "was given a torch_sparse.SparseTensor"
        return ""

    def _graph(
        self, edge_index: Any, x_src: Tensor, x_dst: Tensor | None, size: Any = None
    ) -> Graph:
        """The graph between these features, with this layer's flow and self-loops."""
        if isinstance(edge_index, Graph) and self.flow != "source_to_target":
            raise InputError(
                f"flow={self.flow!r} has no meaning for a gat.Graph, which has its own direction; "
                f"build the graph with flow={self.flow!r} and the layer without"
            )
        num_src, num_dst = x_src.size(-2), None if x_dst is None else x_dst.size(-2)
        if size is not None:
            num_dst = check_size(size, num_src, num_dst)
        if num_dst is None:
            num_dst = known_targets(edge_index, num_src)
        return graph_of(
            edge_index, (num_src, num_dst), flow=self.flow, self_loops=self.add_self_loops
        )

    def _attend_by(
        self, graph: Graph, form: Form, value: Tensor, dropout: float, returns: bool, **call: Any
    ) -> Attended:
        """`Form.attend`, or in steps where something changes the weights; call: of `Weighing`."""
        if not self._changes:
            return form.attend(graph, value, dropout, returns)
        weights = self._changed(Weighing(graph, value, lambda: form.scores(graph), **call))
        used = drop_weights(weights, dropout) if dropout > 0 else weights
        return aggregate(graph, used, value), used if returns else None

    def _changed(self, weighing: Weighing) -> Tensor:
        """The weights [E, K] that the interventions in force make of it, before dropout."""
        weighing.flow = self.flow
        for change in self._changes:
            weighing = change(weighing)
        return weighing.weights

    def _with_weights(
        self, graph: Graph, edge_index: Any, weights: Tensor, batch: int | None = None
    ) -> tuple[Any, Tensor]:
        """PyG's second return value: the edges the weights belong to, and the weights [E, H].

        Of a batch the weights are [B, E, H], and the edges of a sparse matrix an edge_index too.
        To the recorder the graph instead of edges, whose copy may be as large as the weights.
        """
        weights, sparse = split_batch(weights, batch), is_torch_sparse_tensor(edge_index)
        if self._recorded:
            return graph, weights
        if sparse and batch is None:
            if not self.add_self_loops:
                return set_sparse_value(edge_index, weights), weights
            weights = graph.to_sorted(weights)
            return as_csr(graph, weights, edge_index.layout), weights
        if not self.add_self_loops and not sparse and isinstance(edge_index, Tensor):
            return edge_index, weights
        edges = self._listed_edges(graph)
        if isinstance(edge_index, EdgeIndex):
            edges = EdgeIndex(edges, sparse_size=edge_index.sparse_size())
        return edges, weights

    def _listed_edges(self, graph: Graph) -> Tensor:
        """The graph's edges [2, E] as this layer's flow writes them.

        A copy: the graph's own is remembered, and the caller may write into what it is given.
        """
        edges = graph.edge_index
        return edges.clone() if self.flow == "source_to_target" else edges.flip(0)

    def _given_features(self, edge_index: Any, edge_attr: Tensor | None) -> Tensor | None:
        """Edge features as they were passed, or as a sparse matrix holds them."""
        if edge_attr is None and is_torch_sparse_tensor(edge_index):
            return stored_features(edge_index)
        return edge_attr

    def _listed_features(self, graph: Graph, edge_attr: Tensor) -> Tensor:
        """Edge features [E, D] in listed order, those of loops filled in; [E] counts as [E, 1]."""
        # PyG fills a loop from the edges that name the node in row 1, whatever the flow.
        by = "target" if self.flow == "source_to_target" else "source"
        edge_attr = loop_features(graph, edge_attr, self.fill_value, by=by)
        return edge_attr.unsqueeze(1) if edge_attr.dim() == 1 else edge_attr

    def _join_heads(self, out: Tensor, batch: int | None) -> Tensor:
        """What an operator gave, heads joined: [num_dst, H*C], or [num_dst, C] averaged; of a batch
        [B, num_dst, ...]."""
        out = split_batch(out, batch)
        joined = self.concat or self.heads == 1
        return out.flatten(-2) if joined else out.mean(dim=-2)


def is_one_set(x: Any) -> bool:
    """Whether the targets are sources too, the first of them: one tensor, or it twice."""
    return isinstance(x, Tensor) or x[0] is x[1]


def check_features(layer: DropIn, x: Any, edge_index: Any = None) -> tuple[Tensor, Tensor | None]:
    """Source and target features of ``x``: the same tensor twice, or the two of a pair.

    [N, F] each, or [B, N, F] with the same B: a batch on one graph. Of one tensor on a Graph
    ``edge_index`` with fewer targets than sources those of the targets are its first rows.
    """
    x_src, x_dst = (x, x) if isinstance(x, Tensor) else x
    for name, features in (("x", x_src), ("x[1]", x_dst)):
        if features is not None and features.dim() not in (2, 3):
            raise InputError(
                f"{type(layer).__name__}: {name} has shape {list(features.shape)}; expected "
                f"[nodes, channels], or [batch, nodes, channels] for many on one graph"
            )
    if batch_size(x_src) == 0:
        raise InputError(
            f"{type(layer).__name__}: x has shape {list(x_src.shape)}, a batch of no features; "
            f"expected at least one"
        )
    if x_dst is not None and batch_size(x_src) != batch_size(x_dst):
        raise InputError(
            f"{type(layer).__name__}: x has shapes {list(x_src.shape)} and {list(x_dst.shape)}; "
            f"expected both of one batch, or none"
        )
    if isinstance(x, Tensor):
        return x, target_rows(x, edge_index)
    if layer.add_self_loops and x_dst is not None and x_dst is not x_src:
        _warn_bipartite_loops(layer)
    return x_src, x_dst


def check_pair(layer: DropIn, x: Any, edge_index: Any = None) -> tuple[Tensor, Tensor]:
    """`check_features` for layers that score every target by its features."""
    x_src, x_dst = check_features(layer, x, edge_index)
    if x_dst is None:
        raise InputError(
            f"{type(layer).__name__} scores every target: x must be a tensor or a full pair"
        )
    return x_src, x_dst


def check_one_tensor(layer: DropIn, x: Any, edge_index: Any) -> Tensor:
    """Those of the targets, as `check_features`; refuses what is no tensor [N, F] or [B, N, F]: for
    layers that take no pair."""
    if not isinstance(x, Tensor):
        raise ArgumentTypeError(
            f"{type(layer).__name__}: x is of type {type(x).__name__}; expected one tensor "
            f"[nodes, channels], since sources and targets are the same nodes"
        )
    return check_pair(layer, x, edge_index)[1]


def _is_batch(x: Any) -> bool:
    first = x[0] if isinstance(x, tuple | list) else x
    return isinstance(first, Tensor) and batch_size(first) is not None


def _warn_bipartite_loops(layer: DropIn) -> None:
    warn_once(
        f"{type(layer).__name__} adds an edge from source i to target i on a bipartite graph. "
        f"That is right where target i is source i (sampled neighbourhoods); elsewhere it "
        f"invents edges: make the layer with add_self_loops=False"
    )
