"""What one layer's attention is, as data: `AttentionRecord`, one row per edge the caller passed.

`Attention` holds the records of a model by layer. They come about in `gat.inspection.recording`;
what is worked out from them stands in the other rooms beside it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gat.errors import IndexRangeError, InputError
from gat.graph import Graph

__all__ = ["WHEN", "Attention", "AttentionRecord", "Coverage", "EdgeType", "Neighbour", "in_order"]

EdgeType = tuple[str, str, str]
WHEN = ("before_dropout", "after_dropout")


class Coverage(NamedTuple):
    """How many targets there are; of these how many are recorded with all their edges, how many
    with some of them, and how many not at all."""

    targets: int
    complete: int
    sampled: int
    unseen: int


class Neighbour(NamedTuple):
    """One of the nodes a node listens to: its number, the weight of each head [H], and the edge's
    number in the caller's order, None for a loop that the layer added."""

    node: int
    weights: Tensor
    edge: int | None


@dataclass(frozen=True, eq=False, repr=False)
class AttentionRecord:
    """One layer's attention weights over the caller's edges.

    E recorded edges, H recorded heads.

    layer: the layer's name in its model; layer_type: its class; when: "before_dropout" or
    "after_dropout" (the same outside training).
    edge_index: int64 [2, E], the edges as the caller passed them, in the caller's order.
    weights: floating [E, H], the weight of each edge. A second copy of a self-loop that the layer
    leaves out has 0.
    loops: [num_dst, H], the weight of the loop the layer added at each node; 0 where it added none
    or where the loop is one of the caller's edges.
    num_src, num_dst: how many source and target nodes there are.
    flow: "source_to_target", messages go from row 0 to row 1 of edge_index, or the reverse.
    edge_type: (source type, relation, target type) in a heterogeneous model, else None.
    heads: the numbers of the recorded heads in the layer.
    edge_id: int64 [E], the caller's number of each row where not all edges are recorded; else None.
    seen: bool [num_dst], the targets whose neighbourhoods are recorded; None: all.
    complete: bool [num_dst], those recorded with every one of their edges; None: all that are seen.
    """

    layer: str
    layer_type: str
    when: str
    edge_index: Tensor
    weights: Tensor
    loops: Tensor
    num_src: int
    num_dst: int
    flow: str = "source_to_target"
    edge_type: EdgeType | None = None
    heads: tuple[int, ...] = ()
    edge_id: Tensor | None = None
    seen: Tensor | None = None
    complete: Tensor | None = None

    def __post_init__(self) -> None:
        if not self.heads:
            object.__setattr__(self, "heads", tuple(range(self.weights.size(1))))

    def __repr__(self) -> str:
        kind = "" if self.edge_type is None else f", edge_type={self.edge_type}"
        return (
            f"AttentionRecord({self.name!r}, {self.layer_type}{kind}, {self.num_edges} edges x "
            f"{self.num_heads} heads, {self.when})"
        )

    @property
    def name(self) -> str:
        """The layer's name, for titles: with the edge type, where there is one."""
        return self.layer if self.edge_type is None else f"{self.layer} {'-'.join(self.edge_type)}"

    @property
    def num_edges(self) -> int:
        return self.edge_index.size(1)

    @property
    def num_heads(self) -> int:
        return self.weights.size(1)

    @property
    def source(self) -> Tensor:
        """The node that sends along each edge, int64 [E]."""
        return ends_of(self.edge_index, self.flow)[0]

    @property
    def target(self) -> Tensor:
        """The node that each edge enters, int64 [E]."""
        return ends_of(self.edge_index, self.flow)[1]

    @property
    def same_nodes(self) -> bool:
        """Whether sources and targets are one set of nodes, so that an edge can be a self-loop."""
        if self.edge_type is not None:
            return self.edge_type[0] == self.edge_type[2]
        return self.num_src == self.num_dst

    @property
    def is_loop(self) -> Tensor:
        """Which of the edges are self-loops, bool [E]; none in a bipartite graph."""
        if not self.same_nodes:
            return torch.zeros_like(self.source, dtype=torch.bool)
        return self.source == self.target

    @property
    def left_out(self) -> Tensor:
        """Which of the edges the layer did not attend over, bool [E]: the later copies of a
        self-loop that have no weight at any head."""
        rows = self.is_loop.nonzero().squeeze(1)
        node = self.target[rows]
        first = rows.new_full((self.num_dst,), self.num_edges)
        first = first.scatter_reduce(0, node, rows, "amin")
        later = (rows != first[node]) & (self.weights[rows] == 0).all(1)
        return torch.zeros_like(self.is_loop).index_put((rows,), later)

    @property
    def graph(self) -> Graph:
        """The recorded edges as a `gat.Graph`, worked out once; listed order is that of rows."""
        if "_graph" not in self.__dict__:
            edges = torch.stack([self.source, self.target])
            graph = Graph.from_edge_index(edges, (self.num_src, self.num_dst))
            object.__setattr__(self, "_graph", graph)
        return self.__dict__["_graph"]

    @property
    def sums(self) -> Tensor:
        """What each target's weights, its loop's included, sum to: [num_dst, H]; 1 for softmax."""
        return self.loops.index_add(0, self.target, self.weights)

    @property
    def to_self(self) -> Tensor:
        """The weight of each target on itself, by its own edges or the layer's loop:
        [num_dst, H]."""
        own = self.is_loop
        return self.loops.index_add(0, self.target[own], self.weights[own])

    @property
    def coverage(self) -> Coverage:
        """How much of the graph the record is of."""
        seen = self.num_dst if self.seen is None else int(self.seen.sum())
        complete = seen if self.complete is None else int(self.complete.sum())
        return Coverage(self.num_dst, complete, seen - complete, self.num_dst - seen)

    def mean(self) -> "AttentionRecord":
        """The same record with its heads averaged into one, H = 1, whose number is -1: it is none
        of the layer's."""
        weights, loops = (part.mean(1, keepdim=True) for part in (self.weights, self.loops))
        return self._with(weights=weights, loops=loops, heads=(-1,))

    def head(self, number: int) -> "AttentionRecord":
        """The same record of one head, by its number in the layer; H = 1."""
        if number not in self.heads:
            raise IndexRangeError(
                f"{self.name} has no record of head {number}; recorded are heads "
                f"{', '.join(map(str, self.heads))}"
            )
        column = self.heads.index(number)
        columns = slice(column, column + 1)
        return self._with(
            weights=self.weights[:, columns], loops=self.loops[:, columns], heads=(number,)
        )

    def to(self, device: torch.device | str) -> "AttentionRecord":
        """The same record with its tensors on ``device``."""
        tensors: dict[str, Any] = {
            name: value.to(device)
            for name, value in vars(self).items()
            if isinstance(value, Tensor)
        }
        return replace(self, **tensors)

    def neighbours(self, node: int) -> list[Neighbour]:
        """What node ``node`` looks at, the most attended first (by the mean over heads)."""
        check_node("node", node, self.num_dst)
        rows = (self.target == node).nonzero().squeeze(1)
        numbers = rows if self.edge_id is None else self.edge_id[rows]
        found = [
            Neighbour(int(source), weights, int(edge))
            for source, weights, edge in zip(
                self.source[rows], self.weights[rows], numbers, strict=True
            )
        ]
        if bool(self.loops[node].any()):
            found.append(Neighbour(node, self.loops[node], None))
        return sorted(found, key=lambda one: -float(one.weights.mean()))

    def save(self, folder: str | Path) -> None:
        """Write the record to a folder; see `gat.inspection.save_attention`."""
        Attention([self]).save(folder)

    def to_pandas(self, **options: Any) -> Any:
        """A DataFrame, one row per edge; see `gat.inspection.to_pandas`."""
        from gat.inspection.storing.tables import to_pandas

        return to_pandas(self, **options)

    def to_networkx(self, head: int | None = None) -> Any:
        """A MultiDiGraph with the weights on its edges; see `gat.inspection.to_networkx`."""
        from gat.inspection.storing.tables import to_networkx

        return to_networkx(self, head)

    def _with(self, **changed: Any) -> "AttentionRecord":
        """A copy that shares the graph: for changes that leave the edges alone."""
        copy = replace(self, **changed)
        if "_graph" in self.__dict__:
            object.__setattr__(copy, "_graph", self.__dict__["_graph"])
        return copy


class Attention(Mapping[Any, AttentionRecord]):
    """The records of a model's layers, in the order in which the layers ran.

    ``attention["conv1"]``; in a heterogeneous model ``attention["conv1", ("author", "writes",
    "paper")]``. A layer that ran more than once in a forward pass has its later calls under
    "conv1#2" and so on.
    """

    def __init__(self, records: Iterable[AttentionRecord] = ()) -> None:
        self._records: dict[Any, AttentionRecord] = {}
        for record in records:
            self._put(record)

    def save(self, folder: str | Path) -> None:
        """Write all records to a folder; see `gat.inspection.save_attention`."""
        from gat.inspection.storing.saving import save_attention

        save_attention(self, folder)

    def _put(self, record: AttentionRecord) -> None:
        self._records[_key(record)] = record

    def __getitem__(self, key: Any) -> AttentionRecord:
        if key in self._records:
            return self._records[key]
        of_layer = [one for one in self._records if isinstance(one, tuple) and one[0] == key]
        if len(of_layer) == 1:
            return self._records[of_layer[0]]
        if of_layer:
            raise AttentionKeyError(
                f"layer {key!r} attends over {len(of_layer)} edge types; ask for one of "
                f"{', '.join(map(repr, of_layer))}"
            )
        known = ", ".join(map(repr, self._records)) or "nothing yet"
        raise AttentionKeyError(f"there is no record of {key!r}; recorded: {known}")

    def __iter__(self) -> Iterator[Any]:
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)

    def __repr__(self) -> str:
        return f"Attention({', '.join(map(repr, self._records.values()))})"


class AttentionKeyError(InputError, KeyError):
    """No record of that name."""

    __str__ = Exception.__str__


def in_order(attention: Attention | Sequence[AttentionRecord] | AttentionRecord) -> list[Any]:
    """The records of a model's layers, first layer first, of whatever holds them."""
    if isinstance(attention, AttentionRecord):
        return [attention]
    records = list(attention.values() if isinstance(attention, Mapping) else attention)
    if not records:
        raise InputError(
            "there are no attention records; run the model inside gat.record_attention first"
        )
    return records


def ends_of(edge_index: Tensor, flow: str) -> tuple[Tensor, Tensor]:
    """The node that sends along each edge and the one that the edge enters, [E] each."""
    first, second = edge_index
    return (first, second) if flow == "source_to_target" else (second, first)


def check_node(name: str, node: int, count: int) -> None:
    """Refuse a node number outside [0, count)."""
    if not 0 <= node < count:
        raise IndexRangeError(f"{name} is {node}; expected a node in [0, {count})")


def _key(record: AttentionRecord) -> Any:
    return record.layer if record.edge_type is None else (record.layer, record.edge_type)
