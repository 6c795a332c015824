"""The disk side of recording in mini-batches: rows go to scratch files as they come.

A target may be met in many batches, and which of them counts is known at the end. `Spool` keeps the
rows of all, 32 + H x itemsize bytes each, in one scratch file for each column; at the end the
columns are gone through in pieces, rows that do not count are left out in place, and the columns
become the record's Arrow file. They are mapped, not read: memory holds a piece at a time, the disk
the scratch and the record.
"""

import os
import shutil
import weakref
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gat.errors import ArgumentTypeError, IndexRangeError, InputError
from gat.inspection.record import AttentionRecord
from gat.inspection.storing.arrow_files import DTYPES, as_numpy, read_record, write_record
from gat.inspection.storing.attention_folder import AttentionFolder, Entry
from gat.inspection.storing.mapped_file import arrow

__all__ = ["Spool", "publish"]

# How much of the scratch is in memory at a time, bytes.
PIECE = 32 << 20
WHOLE = ("edge", "row0", "row1", "batch")


class Spool:
    """Takes the attention of one layer batch by batch and makes it one record on disk.

    folder: the attention's folder, shared by the spools of one recording; it is locked against
    other processes until they are closed. key: the layer's name, or (name, edge type).
    num_heads: H. dtype: that of the weights.

    ``append`` each batch, ``finish`` for the record, then `publish` all spools of the folder:
    until then ``load_attention`` finds what was there before. A spool that is closed, by its
    ``with`` block or by ``close``, forgotten or alive when the process ends leaves nothing on the
    disk that is not published; what a killed process left, the next writer to the folder removes.
    """

    def __init__(self, folder: str | Path, key: Any, num_heads: int, dtype: torch.dtype) -> None:
        arrow()
        if dtype not in DTYPES:
            raise ArgumentTypeError(
                f"dtype is {dtype}; expected one of {', '.join(map(str, DTYPES))}"
            )
        if num_heads < 1:
            raise InputError(f"num_heads is {num_heads}; expected at least 1")
        self.layer, self.edge_type = key if isinstance(key, tuple) else (key, None)
        self.num_heads, self.dtype = num_heads, dtype
        self.rows = 0
        self._entry: Entry | None = None
        self._folder = AttentionFolder(folder)
        self._scratch = self._folder.claim()
        self._discard = weakref.finalize(self, _discard, self._folder, self._scratch, os.getpid())

    def __enter__(self) -> "Spool":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the scratch and let other processes write to the folder. May be called again."""
        self._discard()

    def append(
        self, edge_id: Tensor, edge_index: Tensor, batch: int | Tensor, weights: Tensor
    ) -> None:
        """Add the e rows of a batch.

        edge_id: int64 [e], the caller's numbers; edge_index: int64 [2, e], global; batch: the
        batch's number, not negative, for all rows or each [e]; weights: [e, H] of the spool's
        dtype. Should a write fail, as on a full disk, the spool is closed.
        """
        self._check_open()
        self._check(edge_id, edge_index, batch, weights)
        if not isinstance(batch, Tensor):
            batch = torch.full_like(edge_id, batch)
        columns = (edge_id, edge_index[0], edge_index[1], batch)
        try:
            for name, column in zip(WHOLE, columns, strict=True):
                self._write(name, column.long())
            self._write("weights", weights)
        except BaseException:
            self.close()
            raise
        self.rows += edge_id.numel()

    def finish(
        self,
        chosen: Tensor,
        loops: Tensor,
        *,
        layer_type: str,
        when: str,
        num_src: int,
        flow: str = "source_to_target",
        heads: tuple[int, ...] = (),
        seen: Tensor | None = None,
        complete: Tensor | None = None,
    ) -> AttentionRecord:
        """The record of the rows that count, in the order in which they came.

        chosen: int64 [num_dst], for each target the number of the batch whose rows count, -1 for
        none. The rest are the record's fields. Its tensors lie on the file, with ``edge_id``
        always there. Raises IndexRangeError for a target outside [0, num_dst).
        """
        self._check_open()
        record = AttentionRecord(
            self.layer,
            layer_type,
            when,
            # The rows in the scratch take the place of these two.
            edge_index=torch.empty(2, 0, dtype=torch.int64),
            weights=torch.empty(0, self.num_heads, dtype=self.dtype),
            loops=loops,
            num_src=num_src,
            num_dst=chosen.numel(),
            flow=flow,
            edge_type=self.edge_type,
            heads=heads,
            seen=seen,
            complete=complete,
        )
        try:
            self._write_record(record, chosen)
            self._entry = self._folder.keep(self._scratch, self.layer, self.edge_type)
        except BaseException:
            self.close()
            raise
        shutil.rmtree(self._scratch, ignore_errors=True)
        return read_record(*self._entry.files(self._folder.path))

    def _write_record(self, record: AttentionRecord, chosen: Tensor) -> None:
        """Write the record's files into the scratch folder, with the rows that count."""
        columns = self._columns()
        target = columns["row1" if record.flow == "source_to_target" else "row0"]
        kept = _leave_out(columns, target, as_numpy(chosen.long()))
        rows = {name: torch.from_numpy(column[:kept]) for name, column in columns.items()}
        weights = rows["weights"]
        if self.dtype == torch.bfloat16:
            weights = weights.view(torch.bfloat16)
        record = replace(record, weights=weights, edge_id=rows["edge"])
        write_record(self._scratch, record, (rows["row0"], rows["row1"]))

    def _check_open(self) -> None:
        if self._entry is not None or not self._discard.alive:
            state = "finished" if self._entry is not None else "closed"
            raise InputError(
                f"the spool of layer {self.layer!r} is {state}; make a new Spool to record again"
            )

    def _check(
        self, edge_id: Tensor, edge_index: Tensor, batch: int | Tensor, weights: Tensor
    ) -> None:
        rows = edge_id.numel()
        found = {
            "edge_id": (edge_id, (rows,)),
            "edge_index": (edge_index, (2, rows)),
            "weights": (weights, (rows, self.num_heads)),
        }
        if isinstance(batch, Tensor):
            found["batch"] = (batch, (rows,))
        for name, (tensor, shape) in found.items():
            if tuple(tensor.shape) != shape:
                raise InputError(
                    f"{name} is {list(tensor.shape)}; expected {list(shape)}, for {rows} edges "
                    f"and {self.num_heads} heads of layer {self.layer!r}"
                )
        if weights.dtype != self.dtype:
            raise ArgumentTypeError(
                f"weights of layer {self.layer!r} are {weights.dtype}; expected {self.dtype}, as "
                f"in the spool: convert them, or give the spool that dtype"
            )
        if rows and int(batch.min() if isinstance(batch, Tensor) else batch) < 0:
            raise InputError("a batch number is negative; expected 0 or more (-1 chooses no batch)")

    def _write(self, name: str, values: Tensor) -> None:
        with open(self._scratch / name, "ab") as file:
            file.write(memoryview(as_numpy(values).reshape(-1).view(np.uint8)))

    def _columns(self) -> dict[str, Any]:
        """The columns of the scratch, mapped for reading and writing."""
        dtype = as_numpy(torch.empty(0, dtype=self.dtype)).dtype
        shapes = {name: ((self.rows,), np.dtype(np.int64)) for name in WHOLE}
        shapes["weights"] = ((self.rows, self.num_heads), dtype)  # type: ignore[assignment]
        return {
            name: np.memmap(self._scratch / name, dtype, "r+", shape=shape)
            if self.rows
            else np.empty(shape, dtype)
            for name, (shape, dtype) in shapes.items()
        }


def publish(spools: Iterable[Spool]) -> None:
    """Make the records of these finished spools their folder's attention, all at once and in this
    order, and close the spools. The files of the attention before are removed.

    Raises InputError for no spools, one that is not finished or was closed, and two folders.
    """
    spools = list(spools)
    entries = [spool._entry for spool in spools if spool._entry and spool._discard.alive]
    folders = {spool._folder.path for spool in spools}
    if len(entries) < len(spools):
        # What a closed spool wrote may have been removed by another writer.
        raise InputError(
            "a spool is not finished, or was closed before it was published; call finish on each, "
            "publish them, then close"
        )
    if len(folders) != 1:
        raise InputError(f"the spools write to {len(folders)} folders; expected one")
    with AttentionFolder(folders.pop()) as place:
        place.commit(entries)
    for spool in spools:
        spool.close()


def _leave_out(columns: dict[str, Any], target: Any, chosen: Any) -> int:
    """Move the rows whose batch is the chosen one of their target to the front; return how many."""
    total, kept = len(target), 0
    size = sum(column[:1].nbytes for column in columns.values())
    step = max(1, PIECE // max(1, size))
    for start in range(0, total, step):
        piece = slice(start, start + step)
        _check_targets(target[piece], len(chosen))
        counts = chosen[target[piece]] == columns["batch"][piece]
        end = kept + int(counts.sum())
        if end < piece.start + len(counts):
            for column in columns.values():
                column[kept:end] = column[piece][counts]
        kept = end
    return kept


def _check_targets(targets: Any, count: int) -> None:
    low, high = int(targets.min()), int(targets.max())
    if low < 0 or high >= count:
        raise IndexRangeError(
            f"an edge enters node {low if low < 0 else high}; expected targets in [0, {count}), "
            f"one for each entry of chosen"
        )


def _discard(folder: AttentionFolder, scratch: Path, process: int) -> None:
    # A fork has the spool too, but not the say.
    if os.getpid() == process:
        shutil.rmtree(scratch, ignore_errors=True)
        folder.close()
