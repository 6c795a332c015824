"""Records of mini-batches, put together under the numbers of the whole graph.

A target may be met in many batches, with all its edges or with some of them. Its weights of one
batch are kept, of that with most of its edges: so they are weights that the model really used
together. Of equals, of the one where it is nearest to the seeds: a target at the rim may have all
its edges there, but what its sources say in later layers was worked out without theirs.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gat.errors import InputError
from gat.inspection.record import AttentionRecord, EdgeType, ends_of
from gat.inspection.recording.numbering import hops_of, numbers_of, whole_graph
from gat.inspection.recording.restricting import target_mask
from gat.inspection.storing.spool import Spool, publish

__all__ = ["Batches"]


class Batches:
    """The batches of one recording. full: the whole graph, as `record_attention` takes it; folder:
    where rows go as they come, instead of into memory."""

    def __init__(self, full: Any, folder: Path | None = None) -> None:
        self._edges, self._sizes = whole_graph(full)
        self.folder = folder
        self._tables: dict[Any, Table] = {}
        self._n_id: dict[str | None, Tensor] = {}
        self._e_id: dict[EdgeType | None, Tensor] = {}
        self._hop: dict[str | None, Tensor] = {}
        self._number = -1
        self.pending = False

    @property
    def kinds(self) -> list[EdgeType | None]:
        """The whole graph's edge types."""
        return list(self._edges)

    def announce(self, batch: Any, n_id: Any, e_id: Any) -> None:
        """The numbers of the nodes and edges of the batch that comes next."""
        counts = {kind: edges.size(1) for kind, edges in self._edges.items()}
        self._n_id = numbers_of("n_id", batch, n_id, self._sizes)
        self._e_id = numbers_of("e_id", batch, e_id, counts)
        self._hop = hops_of(batch, self._n_id)
        self._number += 1

    def add(self, record: AttentionRecord, wanted: Tensor | None) -> None:
        """Take one layer's record in the batch's numbers; ``wanted`` targets alone, if given."""
        if self._number < 0:
            raise InputError(
                f"{record.name} ran before any batch was announced; call attention.batch(batch), "
                f"or attention.batch(n_id=..., e_id=...), before the model"
            )
        kind = record.edge_type
        if kind not in self._edges:
            known = ", ".join(map(str, self._edges))
            raise InputError(f"{record.name} is not of an edge type of the whole graph: {known}")
        ends = (None, None) if kind is None else (kind[0], kind[2])
        source, target = (_announced("n_id", self._n_id, end, record) for end in ends)
        e_id = _announced("e_id", self._e_id, kind, record)
        key = record.layer, kind
        if key not in self._tables:
            spool = None
            if self.folder is not None:
                name = record.layer if kind is None else key
                spool = Spool(self.folder, name, record.num_heads, record.weights.dtype)
            self._tables[key] = Table.of(record, self._edges[kind], self._size(record), spool)
        hop = self._hop[ends[1]]
        self._tables[key].add(self._number, record, source, target, e_id, hop, wanted)
        self.pending = True

    def records(self) -> list[AttentionRecord]:
        """The records of all batches so far."""
        self.pending = False
        return [table.record() for table in self._tables.values()]

    def publish(self) -> list[AttentionRecord]:
        """The records of all batches, now on disk; nothing can be added after."""
        spools = [table.spool for table in self._tables.values() if table.spool is not None]
        records = [table.stored() for table in self._tables.values()]
        publish(spools)
        return records

    def close(self) -> None:
        """Give up what is on disk and was not published."""
        for table in self._tables.values():
            if table.spool is not None:
                table.spool.close()

    def _size(self, record: AttentionRecord) -> tuple[int, int]:
        if record.edge_type is None:
            return (self._sizes[None],) * 2
        return self._sizes[record.edge_type[0]], self._sizes[record.edge_type[2]]


@dataclass(eq=False)
class Table:
    """One layer's rows of all batches.

    most: int64 [num_dst], how many edges of each target are recorded, -1 if it was not met; batch,
    hop: int64 [num_dst], of which batch they are, and in which of its hops the target was found;
    rows: (batch, edge_id, weights) of each batch, unless they go to the spool.
    """

    first: AttentionRecord
    edges: Tensor
    num_nodes: tuple[int, int]
    degree: Tensor
    most: Tensor
    batch: Tensor
    hop: Tensor
    loops: Tensor
    spool: Spool | None = None
    rows: list[tuple[int, Tensor, Tensor]] = field(default_factory=list)

    @classmethod
    def of(
        cls, record: AttentionRecord, edges: Tensor, num_nodes: tuple[int, int], spool: Spool | None
    ) -> "Table":
        num_dst = num_nodes[1]
        edges = edges.to(record.weights.device)
        _, target = ends_of(edges, record.flow)
        none = target.new_full((num_dst,), -1)
        return cls(
            record,
            edges,
            num_nodes,
            torch.bincount(target, minlength=num_dst),
            none,
            none.clone(),
            none.clone(),
            record.loops.new_zeros(num_dst, record.num_heads),
            spool,
        )

    def add(
        self,
        number: int,
        record: AttentionRecord,
        source: Tensor,
        target: Tensor,
        e_id: Tensor,
        hop: Tensor,
        wanted: Tensor | None,
    ) -> None:
        """A batch's rows of those targets that no batch before had with as many edges, as near.

        source, target: the whole graph's numbers of the batch's nodes; e_id: of its edges, of which
        a layer may have been given the first ones alone; hop: of its targets.
        """
        device = record.weights.device
        source, target, e_id, hop = (ids.to(device) for ids in (source, target, e_id, hop))
        self._check(record, source, target, e_id)
        e_id, target, hop = (
            e_id[: record.num_edges],
            target[: record.num_dst],
            hop[: record.num_dst],
        )
        better = self._better(record, target, hop, wanted)
        met = target[better]
        self.most[met] = record.graph.in_degree[better]
        self.batch[met] = number
        self.hop[met] = hop[better]
        self.loops[met] = record.loops[better]
        kept = better[record.target]
        rows, weights = e_id[kept], record.weights[kept]
        if self.spool is None:
            self.rows.append((number, rows, weights))
        else:
            self.spool.append(rows.cpu(), self.edges[:, rows].cpu(), number, weights.cpu())

    def _better(
        self, record: AttentionRecord, target: Tensor, hop: Tensor, wanted: Tensor | None
    ) -> Tensor:
        """Which of the batch's targets are met with more edges than before, or with as many nearer
        to the seeds, bool [num_dst']."""
        count, most = record.graph.in_degree, self.most[target]
        better = (count > most) | ((count == most) & (hop < self.hop[target]))
        # A target with edges of which none was drawn shows nothing.
        better &= (count > 0) | (self.degree[target] == 0)
        if wanted is not None:
            better &= target_mask(wanted, self.num_nodes[1])[target]
        # In a disjoint batch a node may stand several times: the first with most edges.
        local = torch.arange(count.numel(), device=count.device)
        rank = torch.where(better, count * count.numel() + (count.numel() - 1 - local), -1)
        best = torch.full_like(self.most, -1).scatter_reduce(0, target, rank, "amax")
        return better & (rank == best[target])

    def _check(self, record: AttentionRecord, source: Tensor, target: Tensor, e_id: Tensor) -> None:
        """Refuse numbers that are not those of the edges the layer was given."""
        short = record.num_edges > e_id.numel() or record.num_dst > target.numel()
        if not short and record.num_src <= source.numel():
            senders, receivers = source[record.source], target[record.target]
            pair = (
                (senders, receivers) if record.flow == "source_to_target" else (receivers, senders)
            )
            whole = self.edges[:, e_id[: record.num_edges]]
            if torch.equal(torch.stack(pair), whole):
                return
        raise InputError(
            f"{record.name} ran on {record.num_edges} edges between {record.num_src} sources and "
            f"{record.num_dst} targets, and these are not the {e_id.numel()} edges and "
            f"{source.numel()} nodes announced by e_id and n_id; announce each batch right before "
            f"the model runs on it"
        )

    def record(self) -> AttentionRecord:
        """All that was kept, in the order of the whole graph's edges."""
        _, target = ends_of(self.edges, self.first.flow)
        parts = [(target[:0], self.loops[:0])]
        for number, e_id, weights in self.rows:
            kept = self.batch[target[e_id]] == number
            parts.append((e_id[kept], weights[kept]))
        edge_id, order = torch.sort(torch.cat([part[0] for part in parts]))
        weights = torch.cat([part[1] for part in parts])[order]
        seen, complete = self.most >= 0, self.most == self.degree
        whole = bool(complete.all())
        return replace(
            self.first,
            edge_index=self.edges if whole else self.edges[:, edge_id],
            weights=weights,
            loops=self.loops,
            num_src=self.num_nodes[0],
            num_dst=self.num_nodes[1],
            edge_id=None if whole else edge_id,
            seen=None if whole else seen,
            complete=None if whole else complete,
        )

    def stored(self) -> AttentionRecord:
        """All that was kept, on disk, in the order in which it came."""
        assert self.spool is not None
        first = self.first
        return self.spool.finish(
            self.batch.cpu(),
            self.loops.cpu(),
            layer_type=first.layer_type,
            when=first.when,
            num_src=self.num_nodes[0],
            flow=first.flow,
            heads=first.heads,
            seen=(self.most >= 0).cpu(),
            complete=(self.most == self.degree).cpu(),
        )


def _announced(name: str, numbers: dict[Any, Tensor], kind: Any, record: AttentionRecord) -> Tensor:
    if kind not in numbers:
        known = ", ".join(map(repr, numbers)) or "none"
        raise InputError(
            f"{record.name} ran, and the batch has no {name} of type {kind!r}; announced were "
            f"those of {known}. Give attention.batch the numbers of every type that a layer runs on"
        )
    return numbers[kind]
