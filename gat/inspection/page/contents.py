"""What is on a page: nodes, edges and weights, as plain lists that JSON can hold."""

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gat.errors import InputError
from gat.inspection.page.edges import Edges, count_within, nodes_within, shared_edges
from gat.inspection.record import AttentionRecord, check_node

__all__ = ["contents"]


def contents(
    records: list[AttentionRecord],
    node: int | None,
    hops: int,
    y: Tensor | Sequence[int] | None,
    class_names: Sequence[str] | None,
    names: Sequence[str] | None,
    max_edges: int,
) -> dict[str, Any]:
    """The page's document. Nodes and edges are numbered anew, by their place in its lists.

    nodes: number, label, class, x, y and whether the edges into it are left out ("border").
    edges: source, target, number. layers: heads, weights [H][E] and loops [H][N], None where
    there is no record, and each node's state. centre: a node's place, None without nodes.
    """
    # Here, because scipy takes half a second to import.
    from gat.inspection.page.layout import layout

    records = [record.to("cpu") for record in records]
    edges = shared_edges(records)
    classes = _classes(y, class_names, edges.num_nodes)
    labels = _labels(names, edges.num_nodes)
    chosen, nodes, border = _choose(edges, records, node, hops, max_edges)
    if not nodes.numel():
        raise InputError("the records have no nodes; there is nothing to draw")
    place = torch.full((edges.num_nodes,), -1).scatter(0, nodes, torch.arange(nodes.numel()))
    source, target = place[edges.source[chosen]], place[edges.target[chosen]]
    centre = int(place[edges.busiest() if node is None else node])
    around = layout(nodes.numel(), source.numpy(), target.numpy(), centre)
    return {
        "nodes": {
            "number": nodes.tolist(),
            "label": [labels[i] for i in nodes.tolist()],
            "class": [classes["of"][i] for i in nodes.tolist()],
            "border": border[nodes].tolist(),
            "x": np.round(around[:, 0], 4).tolist(),
            "y": np.round(around[:, 1], 4).tolist(),
        },
        "edges": {
            "source": source.tolist(),
            "target": target.tolist(),
            "number": edges.number[chosen].tolist(),
        },
        "layers": [
            _layer(record, row, chosen, nodes)
            for record, row in zip(records, edges.rows, strict=True)
        ],
        "classes": classes["names"],
        "named": names is not None,
        "centre": centre,
        "hops": None if node is None else hops,
    }


def _choose(
    edges: Edges,
    records: list[AttentionRecord],
    node: int | None,
    hops: int,
    max_edges: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """The edges and nodes on the page, by number, and which nodes' own edges are left out."""
    if operator.index(hops) < 1:
        raise InputError(f"hops is {hops}; expected 1 or more")
    if node is not None:
        check_node("node", operator.index(node), edges.num_nodes)
        inner, reached = nodes_within(edges, node, hops)
        chosen = inner[edges.target].nonzero().squeeze(1)
        border = ~inner
    else:
        reached = _recorded(edges, records)
        chosen = torch.arange(edges.source.numel())
        border = torch.zeros_like(reached)
    nodes = reached.nonzero().squeeze(1)
    if max(chosen.numel(), nodes.numel()) > max_edges:
        raise InputError(_too_large(edges, chosen.numel(), nodes.numel(), node, hops, max_edges))
    return chosen, nodes, border


def _recorded(edges: Edges, records: list[AttentionRecord]) -> Tensor:
    """The nodes that have an edge or, without one, were recorded by some layer: bool [N]."""
    found = torch.zeros(edges.num_nodes, dtype=torch.bool)
    found[edges.source] = found[edges.target] = True
    for record in records:
        found |= torch.ones_like(found) if record.seen is None else record.seen
    return found


def _too_large(
    edges: Edges, num_edges: int, num_nodes: int, node: int | None, hops: int, limit: int
) -> str:
    what = "the graph" if node is None else f"the {hops}-hop neighbourhood of node {node}"
    near = edges.busiest() if node is None else operator.index(node)
    depths = (1, 2) if node is None else range(1, min(hops, 3))
    sizes = [f"{count_within(edges, near, depth)} edges within hops={depth}" for depth in depths]
    whose = f"node {near}" if node is not None else f"the busiest node, node={near},"
    offer = (
        f"{whose} has {' and '.join(sizes)}"
        if sizes
        else "one hop is the least; choose a node with fewer edges"
    )
    return (
        f"{what} has {num_edges} edges and {num_nodes} nodes; the page draws up to {limit} of "
        f"each smoothly. Pass node=... and hops=... for a neighbourhood: {offer}. A "
        f"higher max_edges draws more, slowly"
    )


def _layer(record: AttentionRecord, row: Tensor, chosen: Tensor, nodes: Tensor) -> dict[str, Any]:
    """One layer's weights, None for edges it did not attend over. row: where in the record each of
    the shared edges is, or -1."""
    place = row[chosen]
    weights = record.weights.detach()[place.clamp(min=0)] if record.num_edges else None
    here = place >= 0
    if record.num_edges:
        here &= ~record.left_out[place.clamp(min=0)]
    return {
        "name": record.name,
        "type": record.layer_type,
        "when": record.when,
        "heads": list(record.heads),
        "weights": [
            _numbers(weights[:, head], here) if weights is not None else [None] * here.numel()
            for head in range(record.num_heads)
        ],
        "loops": [_numbers(record.loops.detach()[nodes, head]) for head in range(record.num_heads)],
        "state": _states(record, nodes),
    }


def _states(record: AttentionRecord, nodes: Tensor) -> list[str] | None:
    """Whether each node's edges were recorded: "all", "some" or "none"; None: all of all."""
    if record.seen is None and record.complete is None:
        return None
    every = torch.ones(record.num_dst, dtype=torch.bool)
    seen = every if record.seen is None else record.seen
    complete = seen if record.complete is None else record.complete
    return [
        "none" if not seen[node] else "all" if complete[node] else "some" for node in nodes.tolist()
    ]


def _numbers(values: Tensor, here: Tensor | None = None) -> list[float | None]:
    """To 4 digits, which the page shows; None where there is no record."""
    numbers = [float(f"{value:.4g}") for value in values.tolist()]
    if here is None:
        return list(numbers)
    return [number if there else None for number, there in zip(numbers, here.tolist(), strict=True)]


def _labels(names: Sequence[str] | None, num_nodes: int) -> list[str]:
    if names is None:
        return [str(number) for number in range(num_nodes)]
    if isinstance(names, str) or len(names) != num_nodes:
        raise InputError(
            f"names has {len(names)} entries; expected one for each of the {num_nodes} nodes"
        )
    return [str(name) for name in names]


def _classes(
    y: Tensor | Sequence[int] | None, class_names: Sequence[str] | None, num_nodes: int
) -> dict[str, Any]:
    """Each node's class ("of"), None where unknown, and the classes' names."""
    if y is None:
        if class_names is not None:
            raise InputError("class_names were passed without y; pass y, each node's class, too")
        return {"of": [None] * num_nodes, "names": []}
    numbers = torch.as_tensor(y).cpu()
    if tuple(numbers.shape) != (num_nodes,) or numbers.is_floating_point():
        raise InputError(
            f"y has shape {list(numbers.shape)} and dtype {numbers.dtype}; expected an integer "
            f"for each of the {num_nodes} nodes, its class"
        )
    found = [int(number) if number >= 0 else None for number in numbers.tolist()]
    count = max((number + 1 for number in found if number is not None), default=0)
    if class_names is None:
        return {"of": found, "names": [f"class {number}" for number in range(count)]}
    if len(class_names) < count:
        raise InputError(
            f"class_names has {len(class_names)} entries; y names class {count - 1}, so expected "
            f"{count} or more"
        )
    return {"of": found, "names": [str(name) for name in class_names]}
