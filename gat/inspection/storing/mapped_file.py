"""A mapped Arrow file whose columns become tensors where they lie."""

import json
import mmap
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gat.errors import CorruptDataError, MissingDependencyError

__all__ = ["MappedFile", "arrow", "damaged"]

# Python names it from 3.13 on; other systems do not count the pages of a private mapping.
NORESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000 if sys.platform == "linux" else 0)


def arrow() -> Any:
    """The package pyarrow with its file formats; raises MissingDependencyError."""
    try:
        import pyarrow
        import pyarrow.ipc
    except ImportError:
        raise MissingDependencyError(
            "attention is kept on disk by pyarrow, which is not installed: "
            "pip install 'graph-attention[arrow]'"
        ) from None
    return pyarrow


class MappedFile:
    """An Arrow file of ours in memory that the system fills from the disk on demand."""

    def __init__(self, path: Path) -> None:
        pa = arrow()
        try:
            self._bytes = _map(path)
            whole = pa.py_buffer(self._bytes)
            reader = pa.ipc.open_file(pa.BufferReader(whole))
            self.facts = json.loads(reader.schema.metadata[b"gat"])
            if reader.num_record_batches != 1:
                raise ValueError(f"{reader.num_record_batches} record batches; expected 1")
            self._batch = reader.get_batch(0)
            self._batch.validate()
        except FileNotFoundError:
            raise
        except (OSError, LookupError, TypeError, ValueError, pa.ArrowException) as error:
            raise damaged(path, error) from None
        self._start = whole.address

    def lists(self, name: str, width: int) -> Tensor:
        """The column of lists ``name``, [n, width]."""
        column = self._batch.column(name)
        if column.type.list_size != width:
            raise ValueError(f"{column.type.list_size} {name} a row; expected {width}")
        bits = torch.bfloat16 if name in self.facts["bfloat16"] else None
        return self._flat(column.values, bits).view(-1, width)

    def whole(self, name: str) -> Tensor:
        """The column of whole numbers ``name``, int64 [n]."""
        column = self._batch.column(name)
        if str(column.type) != "int64":
            raise ValueError(f"{name} is {column.type}; expected int64")
        return self._flat(column)

    def pair(self, first: str, second: str) -> Tensor:
        """Two columns as the rows of one tensor, int64 [2, n], where they lie in the file."""
        rows = self.whole(first), self.whole(second)
        count = rows[0].numel()
        apart, odd = divmod(rows[1].data_ptr() - rows[0].data_ptr(), 8)
        if count == 0 or odd or apart < count:
            return torch.stack(rows)
        start = rows[0].data_ptr() - self._start
        both = torch.frombuffer(self._bytes, dtype=torch.int64, count=apart + count, offset=start)
        return both.as_strided((2, count), (apart, 1))

    def flags(self, name: str) -> Tensor | None:
        """The column of truth values ``name``, bool [n]; None if there is none. Arrow keeps them
        as bits: this is a copy."""
        if name not in self._batch.schema.names:
            return None
        return torch.from_numpy(self._batch.column(name).to_numpy(zero_copy_only=False).copy())

    def _flat(self, column: Any, dtype: torch.dtype | None = None) -> Tensor:
        """A column's numbers, where they lie in the mapped file."""
        dtype = dtype or _torch_dtype(str(column.type))
        if len(column) == 0:
            return torch.empty(0, dtype=dtype)
        buffer = column.buffers()[-1]
        start = buffer.address - self._start
        # Elsewhere lies what Arrow had to unpack, in a file that another program wrote.
        if not 0 <= start <= len(self._bytes) - len(column) * dtype.itemsize or column.offset:
            raise ValueError("a column is compressed or rearranged")
        return torch.frombuffer(self._bytes, dtype=dtype, count=len(column), offset=start)


def _torch_dtype(name: str) -> torch.dtype:
    return {
        "halffloat": torch.float16,
        "float": torch.float32,
        "double": torch.float64,
        "int64": torch.int64,
    }[name]


def _map(path: Path) -> mmap.mmap:
    """The file mapped copy on write: a write to a tensor on it is private, where a read-only
    mapping would kill the process, and the file may be larger than memory."""
    with open(path, "rb") as file:
        if sys.platform == "win32":
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        return mmap.mmap(
            file.fileno(),
            0,
            flags=mmap.MAP_PRIVATE | NORESERVE,
            prot=mmap.PROT_READ | mmap.PROT_WRITE,
        )


def damaged(path: Path, error: Exception) -> CorruptDataError:
    said = str(error).strip().partition("\n")[0]
    return CorruptDataError(
        f"{path} is damaged or not attention that gat saved: {said}; restore it from a copy, or "
        f"record the attention again"
    )
