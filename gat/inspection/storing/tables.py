"""A record as other libraries' data: a table of pandas, a graph of networkx."""

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gat.errors import InputError, MissingDependencyError
from gat.inspection.record import AttentionRecord

__all__ = ["to_networkx", "to_pandas"]

Names = Sequence[Hashable]


def to_pandas(
    record: AttentionRecord,
    *,
    names: Names | tuple[Names, Names] | None = None,
    loops: bool = True,
) -> Any:
    """The record as a DataFrame with one row per edge, in the caller's order.

    Columns: ``edge``, the caller's number (Int64); ``source`` and ``target``; ``head_0`` and so on,
    named by the heads' numbers, in the weights' dtype (bfloat16 as float32). The loops that the
    layer added follow, their edge <NA>, unless ``loops`` is False.

    names: what stands for the nodes' numbers, by number: for a graph of one set of nodes a
    sequence [N], else (names of sources, names of targets). Raises InputError for a wrong number of
    names, MissingDependencyError without the extra ``arrow``.
    """
    try:
        import pandas
    except ImportError:
        raise MissingDependencyError(
            "a table needs pandas, which is not installed: pip install 'graph-attention[arrow]'"
        ) from None
    added = _added(record) if loops else torch.empty(0, dtype=torch.int64)
    edge = pandas.array(np.zeros(record.num_edges + added.numel(), dtype=np.int64), dtype="Int64")
    edge[: record.num_edges] = _edge_numbers(record).numpy()
    edge[record.num_edges :] = pandas.NA
    ends = [torch.cat([end.cpu(), added]).numpy() for end in (record.source, record.target)]
    of_source, of_target = _both_names(record, names)
    weights = torch.cat([_plain(record.weights), _plain(record.loops)[added]]).numpy()
    columns = {"edge": edge, "source": _named(ends[0], of_source)}
    columns["target"] = _named(ends[1], of_target)
    columns |= {f"head_{head}": weights[:, column] for column, head in enumerate(record.heads)}
    return pandas.DataFrame(columns)


def to_networkx(record: AttentionRecord, head: int | None = None) -> Any:
    """The record as a ``networkx.MultiDiGraph``, from each source to its target.

    Every edge of the caller's is one of the graph, copies too; the loops that the layer added are
    edges with ``added=True``. Attributes of an edge: ``weight``, that of head ``head`` or else the
    mean over heads; ``weights``, a list of all heads; ``edge``, the caller's number, None for an
    added loop; ``added``.

    Nodes are numbers. With an edge type they are (type, number), so that the graphs of several edge
    types go together; in a bipartite graph without one ("source", number) and ("target", number).
    Nodes of two sets have ``bipartite``, 0 for sources and 1 for targets.
    """
    import networkx

    graph = networkx.MultiDiGraph(layer=record.layer, when=record.when)
    source_of, target_of = _keys(record)
    two_sets = not record.same_nodes
    for side, (key_of, count) in enumerate(
        ((source_of, record.num_src), (target_of, record.num_dst))
    ):
        graph.add_nodes_from(map(key_of, range(count)), **({"bipartite": side} if two_sets else {}))
    added = _added(record)
    edges = _attributes(record, record.weights, _edge_numbers(record).tolist(), head)
    for source, target, facts in zip(
        record.source.tolist(), record.target.tolist(), edges, strict=True
    ):
        graph.add_edge(source_of(source), target_of(target), **facts)
    loops = _attributes(record, record.loops[added.to(record.loops.device)], None, head)
    for node, facts in zip(added.tolist(), loops, strict=True):
        graph.add_edge(source_of(node), target_of(node), **facts)
    return graph


def _attributes(
    record: AttentionRecord, weights: Tensor, numbers: list[int] | None, head: int | None
) -> list[dict[str, Any]]:
    # head() refuses a head that is not recorded.
    column = None if head is None else record.heads.index(record.head(head).heads[0])
    rows = _plain(weights).double()
    shown = rows.mean(1) if column is None else rows[:, column]
    edges = [None] * len(rows) if numbers is None else numbers
    return [
        {"weight": weight, "weights": row, "edge": edge, "added": edge is None}
        for weight, row, edge in zip(shown.tolist(), rows.tolist(), edges, strict=True)
    ]


def _keys(record: AttentionRecord) -> tuple[Any, Any]:
    """What makes a source's number its node, and a target's."""
    if record.edge_type is not None:
        kinds = record.edge_type[0], record.edge_type[2]
    elif record.same_nodes:
        return int, int
    else:
        kinds = "source", "target"
    return (lambda node: (kinds[0], node)), (lambda node: (kinds[1], node))


def _added(record: AttentionRecord) -> Tensor:
    """The nodes at which the layer added a loop."""
    return record.loops.cpu().any(1).nonzero().squeeze(1)


def _edge_numbers(record: AttentionRecord) -> Tensor:
    return torch.arange(record.num_edges) if record.edge_id is None else record.edge_id.cpu()


def _plain(weights: Tensor) -> Tensor:
    """On the CPU, in a dtype that numpy has."""
    weights = weights.detach().cpu()
    return weights.float() if weights.dtype == torch.bfloat16 else weights


def _both_names(record: AttentionRecord, names: Any) -> tuple[Names | None, Names | None]:
    if names is None:
        return None, None
    both = (names, names) if record.same_nodes else tuple(names)
    expected = (record.num_src, record.num_dst)
    if len(both) != 2 or (len(both[0]), len(both[1])) != expected:
        wanted = (
            f"{record.num_dst} names, one for each node"
            if record.same_nodes
            else f"a pair: names of {record.num_src} sources and of {record.num_dst} targets"
        )
        raise InputError(f"names has {len(names)} entries; expected {wanted}")
    return both[0], both[1]


def _named(nodes: Any, names: Names | None) -> Any:
    return nodes if names is None else [names[node] for node in nodes.tolist()]
