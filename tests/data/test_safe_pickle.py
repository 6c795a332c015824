"""Malicious and damaged pickles: refused, and what they carry does not run."""

import os
import pickle
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from gat.data import load
from gat.data.safe_pickle import safe_load
from gat.errors import CorruptDataError


class Payload:
    """Unpickled, it calls ``function(*arguments)``."""

    def __init__(self, function, *arguments) -> None:
        self.what = (function, arguments)

    def __reduce__(self):
        return self.what


def payloads(marker: Path) -> dict[str, object]:
    mark = Payload(os.system, f"touch {marker}")
    holder = np.empty(1, dtype=object)
    holder[0] = mark
    return {
        "system": mark,
        "eval": Payload(eval, f"open({str(marker)!r}, 'w')"),
        "open": Payload(open, str(marker), "w"),
        "path": Payload(Path(marker).touch),
        "in a list": [1, mark],
        "in a dict": defaultdict(list, {0: [mark]}),
        "in an object array": holder,
        "getattr": Payload(getattr, "text", "join"),
        "numpy load": Payload(np.load, str(marker), None, True),
    }


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("kind", payloads(Path("x")))
def test_safe_load_refuses_a_payload_before_it_runs(tmp_path, kind, protocol):
    marker = tmp_path / "marker"
    path = tmp_path / "ind.cora.x"
    path.write_bytes(pickle.dumps(payloads(marker)[kind], protocol=protocol))
    with pytest.raises(
        CorruptDataError, match=r"ind\.cora\.x was refused: .*nothing of it was run"
    ):
        safe_load(path)
    assert not marker.exists()


def test_payloads_do_run_in_a_plain_unpickler(tmp_path):
    # Shows that the test above would notice: the same bytes leave the marker elsewhere.
    marker = tmp_path / "marker"
    pickle.loads(pickle.dumps(payloads(marker)["system"]))
    assert marker.exists()


def test_load_refuses_a_malicious_planetoid_file(tmp_path, a_card):
    from gat.data.loading import load_card

    raw, marker = tmp_path / "made_up" / "raw", tmp_path / "marker"
    raw.mkdir(parents=True)
    for part in ("x", "tx", "allx", "y", "ty", "ally", "graph", "test.index"):
        (raw / f"ind.cora.{part}").write_bytes(pickle.dumps(payloads(marker)["system"]))
    files = [{"name": path.name} for path in sorted(raw.iterdir())]
    card = a_card(reader="planetoid", options={"prefix": "cora"}, files=files)
    with pytest.raises(CorruptDataError, match=r"it asks for posix\.system|nt\.system"):
        load_card(card, tmp_path)
    assert not marker.exists()


def test_load_of_a_card_with_checksum_refuses_before_reading(tmp_path, gat_data):
    import shutil

    shutil.copytree(gat_data / "Cora", tmp_path / "Cora")
    path, marker = tmp_path / "Cora" / "raw" / "ind.cora.graph", tmp_path / "marker"
    path.parent.chmod(0o755)
    path.chmod(0o644)
    path.write_bytes(pickle.dumps(payloads(marker)["system"]))
    with pytest.raises(CorruptDataError, match=r"ind\.cora\.graph has .* bytes, expected 59847"):
        load("cora", tmp_path)
    assert not marker.exists()


def saved(folder: Path, value: object, protocol: int = 4) -> Path:
    path = folder / "value.pkl"
    path.write_bytes(pickle.dumps(value, protocol=protocol))
    return path


NUMBERS = st.sampled_from(["<i4", ">i4", "<i8", "<f4", ">f8", "<f8", "|u1", "|b1"])


@settings(max_examples=40, deadline=None)
@given(
    array=NUMBERS.flatmap(lambda dtype: arrays(dtype, array_shapes(max_dims=3, min_side=0))),
    fortran=st.booleans(),
)
def test_safe_load_reads_number_arrays(tmp_path_factory, array, fortran):
    array = np.asfortranarray(array) if fortran else array
    found = safe_load(saved(tmp_path_factory.mktemp("pickles"), array))
    np.testing.assert_array_equal(found, array)
    assert found.dtype == array.dtype.newbyteorder("=")


def test_safe_load_reads_csr_matrices_and_dicts_of_lists(tmp_path):
    dense = np.array([[0, 1.5, 0], [2, 0, 0]], dtype=np.float32)
    np.testing.assert_array_equal(safe_load(saved(tmp_path, scipy.sparse.csr_matrix(dense))), dense)
    graph = defaultdict(list, {0: [1, 2], 2: []})
    assert safe_load(saved(tmp_path, graph)) == {0: [1, 2], 2: []}


@pytest.mark.parametrize(
    "value",
    [
        np.array(["a", "b"]),
        np.array([1, None], dtype=object),
        np.zeros(2, dtype=[("a", "i4"), ("b", "f8")]),
        np.zeros(2, dtype="M8[s]"),
        scipy.sparse.coo_matrix(np.eye(2)),
        defaultdict(dict),
        {1, 2},
        "text",
        b"bytes",
    ],
    ids=lambda value: type(value).__name__,
)
def test_safe_load_refuses_what_planetoid_files_do_not_hold(tmp_path, value):
    with pytest.raises(CorruptDataError, match="was refused"):
        safe_load(saved(tmp_path, value))


def test_safe_load_refuses_indices_outside_a_matrix(tmp_path):
    matrix = scipy.sparse.csr_matrix(np.eye(3))
    matrix.indices[0] = 10**6
    with pytest.raises(CorruptDataError, match="was refused"):
        safe_load(saved(tmp_path, matrix))


def test_safe_load_refuses_a_matrix_that_would_fill_the_memory(tmp_path):
    matrix = scipy.sparse.csr_matrix((10, 10**9), dtype=np.float32)
    with pytest.raises(CorruptDataError, match=r"a matrix of shape \(10, 1000000000\)"):
        safe_load(saved(tmp_path, matrix))


@settings(max_examples=150, deadline=None)
@given(cut=st.integers(0, 400), flips=st.lists(st.integers(0, 399), max_size=4))
def test_safe_load_of_damaged_bytes_refuses_or_reads_numbers(tmp_path_factory, cut, flips):
    content = bytearray(pickle.dumps(scipy.sparse.csr_matrix(np.eye(3)), protocol=4))
    for flip in flips:
        content[flip % len(content)] ^= 1 << (flip % 8)
    path = tmp_path_factory.mktemp("pickles") / "damaged"
    path.write_bytes(bytes(content[: len(content) - cut]))
    try:
        value = safe_load(path)
    except CorruptDataError:
        return
    assert isinstance(value, (np.ndarray, dict, list))
