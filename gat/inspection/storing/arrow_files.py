"""An attention record as two Arrow files, written by column and read by mapping them.

``edges.arrow`` has a row for each edge: ``edge`` (the caller's number), ``source``, ``target`` and
``weights``, a list of H numbers. ``nodes.arrow`` has a row for each target node: ``loops``, a list
of H, and ``seen`` and ``complete`` where the record has them. The record's other fields are JSON
under the key "gat" of each schema's metadata. Any Arrow reader can read them; bfloat16, which Arrow
does not have, stands there as its 16 bits in uint16.

Each file holds one record batch: each of its columns is one run of bytes in the file, which a
tensor can lie on as it is. Several batches would have to be copied together.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gat._version import __version__
from gat.errors import ArgumentTypeError, InputError
from gat.inspection.record import AttentionRecord
from gat.inspection.storing.mapped_file import MappedFile, arrow, damaged

__all__ = ["DTYPES", "as_numpy", "read_record", "write_record"]

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
FLOWS = ("source_to_target", "target_to_source")
# Fields that the metadata holds.
FACTS = ("layer", "layer_type", "when", "flow", "edge_type", "heads", "num_src", "num_dst")


def write_record(
    folder: Path, record: AttentionRecord, rows: Sequence[Tensor] | None = None
) -> None:
    """Write ``edges.arrow`` and ``nodes.arrow`` into a folder.

    rows: the two rows of edge_index, where they are no one tensor; record.edge_index is not read.
    Columns go from where they lie into the file: mapped ones take no memory.
    """
    pa = arrow()
    rows = tuple(record.edge_index) if rows is None else rows
    _check(record, rows[0].numel())
    names = ("source", "target") if record.flow == FLOWS[0] else ("target", "source")
    numbers = torch.arange(rows[0].numel()) if record.edge_id is None else record.edge_id
    edges = {
        "edge": _column(pa, numbers),
        **{name: _column(pa, row) for name, row in zip(names, rows, strict=True)},
        "weights": _lists(pa, record.weights),
    }
    nodes = {"loops": _lists(pa, record.loops)}
    for name in ("seen", "complete"):
        if getattr(record, name) is not None:
            nodes[name] = pa.array(as_numpy(getattr(record, name)))
    facts = {name: getattr(record, name) for name in FACTS}
    facts |= {"all_edges": record.edge_id is None, "gat": __version__}
    facts["bfloat16"] = [n for n in ("weights", "loops") if _is_bfloat16(getattr(record, n))]
    for name, columns in (("edges.arrow", edges), ("nodes.arrow", nodes)):
        _write(pa, folder / name, columns, facts)


def read_record(edges: Path, nodes: Path) -> AttentionRecord:
    """The record whose two files these are.

    Its tensors lie on the files, mapped copy on write: rows are read from the disk when they are
    used, and what is written to them stays in this process. Raises CorruptDataError.
    """
    edge_file, node_file = MappedFile(edges), MappedFile(nodes)
    try:
        facts = edge_file.facts
        if node_file.facts != facts:
            raise ValueError(f"{nodes.name} belongs to another record")
        ours = {name: facts[name] for name in FACTS}
        ours["heads"] = tuple(facts["heads"])
        ours["edge_type"] = None if facts["edge_type"] is None else tuple(facts["edge_type"])
        names = ("source", "target") if FLOWS.index(facts["flow"]) == 0 else ("target", "source")
        width = len(ours["heads"])
        record = AttentionRecord(
            **ours,
            edge_index=edge_file.pair(*names),
            weights=edge_file.lists("weights", width),
            loops=node_file.lists("loops", width),
            edge_id=None if facts["all_edges"] else edge_file.whole("edge"),
            seen=node_file.flags("seen"),
            complete=node_file.flags("complete"),
        )
        if record.loops.size(0) != record.num_dst:
            raise ValueError(f"{record.loops.size(0)} loops for {record.num_dst} nodes")
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise damaged(edges, error) from None
    return record


def as_numpy(tensor: Tensor) -> Any:
    """The tensor's numbers as a contiguous array, bfloat16 as its bits; no copy if it can be."""
    tensor = tensor.detach().cpu().contiguous()
    return (tensor.view(torch.uint16) if _is_bfloat16(tensor) else tensor).numpy()


def _is_bfloat16(tensor: Tensor) -> bool:
    return tensor.dtype == torch.bfloat16


def _column(pa: Any, values: Tensor) -> Any:
    """A column of numbers [n] over the tensor's own memory."""
    array = as_numpy(values)
    return pa.Array.from_buffers(
        pa.from_numpy_dtype(array.dtype), array.size, [None, pa.py_buffer(array)]
    )


def _lists(pa: Any, values: Tensor) -> Any:
    """A column of lists from [n, H]."""
    return pa.FixedSizeListArray.from_arrays(_column(pa, values.reshape(-1)), values.size(1))


def _check(record: AttentionRecord, edges: int) -> None:
    """Refuse what would not come back: a record whose parts do not fit together."""
    heads, nodes = len(record.heads), record.num_dst
    if heads == 0:
        raise InputError(f"the record of {record.name} has no heads; expected at least one")
    if record.flow not in FLOWS:
        raise InputError(f"flow is {record.flow!r}; expected {' or '.join(map(repr, FLOWS))}")
    shapes = {"weights": (edges, heads), "loops": (nodes, heads), "edge_id": (edges,)}
    for name, shape in {**shapes, "seen": (nodes,), "complete": (nodes,)}.items():
        tensor = getattr(record, name)
        if tensor is not None and tuple(tensor.shape) != shape:
            raise InputError(
                f"{name} of {record.name} is {list(tensor.shape)}; expected {list(shape)}, as its "
                f"edges, nodes and heads are"
            )
        if name in ("weights", "loops") and tensor.dtype not in DTYPES:
            raise ArgumentTypeError(
                f"{name} of {record.name} is {tensor.dtype}; expected one of "
                f"{', '.join(map(str, DTYPES))}"
            )


def _write(pa: Any, path: Path, columns: dict[str, Any], facts: dict[str, Any]) -> None:
    fields = [pa.field(name, column.type, nullable=False) for name, column in columns.items()]
    schema = pa.schema(fields, metadata={"gat": json.dumps(facts)})
    batch = pa.RecordBatch.from_arrays(list(columns.values()), schema=schema)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        writer.write_batch(batch)
