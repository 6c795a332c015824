"""A reader of the pickled Planetoid files that cannot run anything else.

A pickle names functions and calls them. Here every name but those the Planetoid files hold is
refused before a call, and the admitted names stand for classes of our own that only keep what
they are given: no code of numpy or scipy runs on data from the file until it has been checked.
Admitted: numpy arrays of numbers, scipy CSR matrices, dict, defaultdict(list), list.
"""

import pickle
import re
from math import prod
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from gat.errors import CorruptDataError

__all__ = ["safe_load"]

# Cells of a matrix made dense; PubMed's largest has 9.4 million.
MAX_CELLS = 1 << 28
NUMBER = re.compile(r"[<>|=]?[biuf][1248]")


class _DType:
    """Stands for numpy.dtype: a kind and a size of number, then a byte order."""

    def __init__(self, spec: str, align: Any = False, copy: Any = False) -> None:
        if not isinstance(spec, str) or not NUMBER.fullmatch(spec):
            raise pickle.UnpicklingError(f"an array of dtype {spec!r}, which is not a number")
        self.spec, self.order = spec, "|"

    def __setstate__(self, state: tuple) -> None:
        # (version, byte order, subarray, names, fields, item size, alignment, flags)
        if state[1] not in ("<", ">", "|", "=") or any(part is not None for part in state[2:5]):
            raise pickle.UnpicklingError("a structured dtype")
        self.order = state[1]

    def numpy(self) -> np.dtype:
        return np.dtype(self.order + self.spec.lstrip("<>|="))


class _Array:
    """Stands for numpy.ndarray: shape, dtype and bytes, put together in ``numpy``."""

    def __setstate__(self, state: tuple) -> None:
        _, self.shape, self.dtype, self.fortran, self.raw = state

    def numpy(self) -> np.ndarray:
        # Python 2 wrote bytes as str; latin1 maps each character back to its byte.
        raw = self.raw.encode("latin1") if isinstance(self.raw, str) else self.raw
        if not isinstance(self.dtype, _DType) or not isinstance(raw, bytes):
            raise pickle.UnpicklingError("an array that is not made of numbers")
        dtype, shape = self.dtype.numpy(), tuple(int(size) for size in self.shape)
        if any(size < 0 for size in shape) or prod(shape) * dtype.itemsize != len(raw):
            raise pickle.UnpicklingError(f"an array of shape {shape} with {len(raw)} bytes")
        array = np.frombuffer(raw, dtype).reshape(shape, order="F" if self.fortran else "C")
        return array.astype(dtype.newbyteorder("="))


class _CSR:
    """Stands for scipy.sparse.csr_matrix: its dictionary of arrays."""

    def __setstate__(self, state: dict) -> None:
        self.state = state

    def numpy(self) -> np.ndarray:
        """The matrix, dense; the index arrays are checked by scipy (``check_format``)."""
        from scipy.sparse import csr_matrix

        parts = [self.state[key].numpy() for key in ("data", "indices", "indptr")]
        shape = tuple(int(size) for size in self.state["_shape"])
        if len(shape) != 2 or prod(shape) > MAX_CELLS:
            raise pickle.UnpicklingError(f"a matrix of shape {shape}")
        matrix = csr_matrix(tuple(parts), shape=shape)
        matrix.check_format(full_check=True)
        return matrix.toarray()


def _reconstruct(subtype: Any, shape: Any, kind: Any) -> _Array:
    if subtype is not _Array or tuple(shape) != (0,):
        raise pickle.UnpicklingError("an array of an unusual kind")
    return _Array()


def _defaultdict(factory: Any = None) -> dict:
    if factory is not list:
        raise pickle.UnpicklingError("a defaultdict of something else than lists")
    return {}


ADMITTED = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _DType,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("scipy.sparse.csr", "csr_matrix"): _CSR,
    ("scipy.sparse._csr", "csr_matrix"): _CSR,
    ("collections", "defaultdict"): _defaultdict,
    ("__builtin__", "list"): list,
    ("builtins", "list"): list,
    ("__builtin__", "dict"): dict,
    ("builtins", "dict"): dict,
}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ADMITTED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return ADMITTED[module, name]


def safe_load(path: Path) -> Any:
    """The array (a CSR matrix comes dense), dict or list in ``path``; otherwise CorruptDataError.

    Reads pickles of Python 2 (strings as latin1) and 3, protocols 0 to 4.
    """
    try:
        with path.open("rb") as stream:
            value = _Reader(stream, encoding="latin1").load()
        return value.numpy() if isinstance(value, (_Array, _CSR)) else _plain(value)
    except OSError:
        raise
    except Exception as error:  # a damaged pickle can raise nearly anything
        _refuse(path, error)


def _plain(value: Any) -> dict | list:
    """A dict or list at the top; what lies inside is checked by the reader that uses it."""
    if type(value) not in (dict, list):
        raise pickle.UnpicklingError(f"it holds a {type(value).__name__}")
    return value


def _refuse(path: Path, error: Exception) -> NoReturn:
    raise CorruptDataError(
        f"{path} was refused: {error or type(error).__name__}. Expected a pickle of numpy number "
        "arrays, scipy CSR matrices, dict, defaultdict or list and nothing else; "
        "nothing of it was run. Delete the file and fetch it again."
    ) from error
