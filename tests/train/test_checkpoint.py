"""Checkpoints: whole or absent."""

import errno
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from gat.errors import CheckpointMismatchError, CorruptDataError
from gat.models import GAT
from gat.train import SaveError, checkpoint
from gat.train.checkpoint import Checkpoint
from gat.train.run_session import load_weights


def numbered(number: int, size: int = 100) -> Checkpoint:
    """A checkpoint whose every part says its number."""
    return Checkpoint(
        {"a": torch.full((size,), number), "b/c": torch.tensor(number)}, {"n": number}
    )


def number_of(folder: Path) -> int:
    """The number of the folder's checkpoint, all of whose parts must agree."""
    found = checkpoint.load(folder)
    numbers = {found.meta["n"], int(found.tensors["b/c"]), *found.tensors["a"].tolist()}
    assert len(numbers) == 1, f"parts of several checkpoints: {numbers}"
    return numbers.pop()


def only_file(folder: Path) -> Path:
    (path,) = folder.glob("checkpoint-*.safetensors")
    return path


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.uint8, torch.bool]
)
def test_checkpoint_returns_what_was_saved(dtype: torch.dtype, tmp_path: Path) -> None:
    tensors = {
        "m/x": torch.arange(6).reshape(2, 3).to(dtype).T,
        "m/empty": torch.zeros(0, 3, dtype=dtype),
        "scalar": torch.tensor(1).to(dtype),
    }
    meta = {"text": 'ü\n"', "float": 0.1, "list": [1, None, {"a": True}], "inf": float("inf")}
    checkpoint.save(tmp_path, Checkpoint(tensors, meta))
    found = checkpoint.load(tmp_path)
    assert found.meta == meta
    assert found.tensors.keys() == tensors.keys()
    assert all(torch.equal(found.tensors[k], v) for k, v in tensors.items())
    assert found.part("m").keys() == {"x", "empty"}


def test_tied_tensors_are_saved(tmp_path: Path) -> None:
    tied = torch.arange(4.0)
    checkpoint.save(tmp_path, Checkpoint({"a": tied, "b": tied, "c": tied[1:]}, {}))
    found = checkpoint.load(tmp_path).tensors
    assert torch.equal(found["a"], tied)
    assert torch.equal(found["b"], tied)
    assert torch.equal(found["c"], tied[1:])


def test_checkpoint_is_one_file_and_its_checksum(tmp_path: Path) -> None:
    for number in range(3):
        checkpoint.save(tmp_path, numbered(number))
    manifest = json.loads((tmp_path / "checkpoint.json").read_text())
    path = only_file(tmp_path)
    assert manifest["file"] == path.name == "checkpoint-000003.safetensors"
    assert manifest["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert len(list(tmp_path.iterdir())) == 2
    assert number_of(tmp_path) == 2


@pytest.mark.parametrize("where", [0, 7, 9, 60, -1, -100, "middle"])
def test_bit_flip_is_refused(where: Any, tmp_path: Path) -> None:
    checkpoint.save(tmp_path, numbered(1))
    path = only_file(tmp_path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 if where == "middle" else where] ^= 4
    path.write_bytes(data)
    with pytest.raises(CorruptDataError, match=r"checkpoint-000001\.safetensors is damaged: ") as e:
        checkpoint.load(tmp_path)
    assert e.value.exit_code == 3


def test_truncated_checkpoint_is_refused(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, numbered(1))
    path = only_file(tmp_path)
    size = path.stat().st_size
    os.truncate(path, size - 1)
    with pytest.raises(CorruptDataError, match=rf"expected {size} bytes .*found {size - 1}"):
        checkpoint.load(tmp_path)
    path.unlink()
    with pytest.raises(CorruptDataError, match=r"names checkpoint-000001\.safetensors, which is"):
        checkpoint.load(tmp_path)


MANIFESTS = {
    "empty": b"",
    "not JSON": b"{",
    "a list": b"[]",
    "a key missing": b'{"file": "checkpoint-000001.safetensors"}',
    "a path": b'{"file": "../checkpoint-000001.safetensors", "bytes": 1, "sha256": ""}',
    "not text": b"\xff\xfe",
}


@pytest.mark.parametrize("text", MANIFESTS.values(), ids=MANIFESTS.keys())
def test_damaged_manifest_is_refused(text: bytes, tmp_path: Path) -> None:
    checkpoint.save(tmp_path, numbered(1))
    (tmp_path / "checkpoint.json").write_bytes(text)
    with pytest.raises(CorruptDataError, match=r"checkpoint\.json is damaged"):
        checkpoint.load(tmp_path)


def test_manifest_of_another_format_is_refused(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, numbered(1))
    path = tmp_path / "checkpoint.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 9}))
    with pytest.raises(CorruptDataError, match="format 9 is not the one this version"):
        checkpoint.load(tmp_path)


def header(**entry: Any) -> bytes:
    """A safetensors file of 8 bytes of data with one entry changed."""
    values = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **entry}
    text = json.dumps({"__metadata__": {"gat": "{}"}, "a": values}).encode()
    return len(text).to_bytes(8, "little") + text + b"\0" * 8


BAD_FILES = {
    "no header": b"",
    "header longer than file": (10**9).to_bytes(8, "little") + b"{}",
    "header not JSON": (4).to_bytes(8, "little") + b"{{{{" + b"\0" * 8,
    "offsets beyond the file": header(data_offsets=[0, 800]),
    "offsets backwards": header(data_offsets=[8, 0]),
    "unknown dtype": header(dtype="F31"),
    "shape of another size": header(shape=[3]),
    "negative shape": header(shape=[-2]),
    "no metadata": (2).to_bytes(8, "little") + b"{}",
}


@pytest.mark.parametrize("data", BAD_FILES.values(), ids=BAD_FILES.keys())
def test_bad_safetensors_with_a_right_checksum_is_refused(data: bytes, tmp_path: Path) -> None:
    checkpoint.save(tmp_path, numbered(1))
    only_file(tmp_path).write_bytes(data)
    digest = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    path = tmp_path / "checkpoint.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **digest}))
    with pytest.raises(CorruptDataError, match=r"is not a checkpoint of gat: .*nothing of it"):
        checkpoint.load(tmp_path)


def test_good_header_is_accepted(tmp_path: Path) -> None:
    """The bad files above are refused for their fault, not for how they were made."""
    data = header()
    checkpoint.save(tmp_path, numbered(1))
    only_file(tmp_path).write_bytes(data)
    digest = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    path = tmp_path / "checkpoint.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **digest}))
    assert checkpoint.load(tmp_path).tensors["a"].tolist() == [0, 0]


def test_other_architecture_lists_keys_and_changes_nothing() -> None:
    model = GAT(5, 3, hidden_channels=4, heads=2)
    other = GAT(5, 3, hidden_channels=6, heads=2, norm="batch", linear_output=True)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(CheckpointMismatchError) as refusal:
        load_weights(model, other.state_dict())
    text = str(refusal.value)
    own, theirs = model.state_dict().keys(), other.state_dict().keys()
    assert own - theirs or theirs - own
    for name in own ^ theirs:
        assert name in text
    assert "unexpected keys: " in text
    assert "[1, 2, 6] in the checkpoint" in text
    assert refusal.value.exit_code == 2
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


class Crash(BaseException):
    """Stands for a process that ends at once: nothing catches it, nothing is cleaned up."""


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """Every system call of a save goes through ``plan``: {"at": n, "raise": error} strikes."""
    plan: dict[str, Any] = {"count": 0, "at": 0, "raise": None}

    def watched(real: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            plan["count"] += 1
            if plan["count"] == plan["at"]:
                raise plan["raise"]
            return real(*args, **kwargs)

        return call

    monkeypatch.setattr(checkpoint, "open", watched(open), raising=False)
    for module, name in ((os, "fsync"), (os, "replace"), (Path, "unlink")):
        monkeypatch.setattr(module, name, watched(getattr(module, name)))
    yield plan
    plan["at"] = 0


def test_crash_at_every_call_of_a_save_leaves_the_old_or_the_new(
    calls: dict[str, Any], tmp_path: Path
) -> None:
    checkpoint.save(tmp_path, numbered(0))
    calls["count"] = 0
    checkpoint.save(tmp_path, numbered(1))
    steps, seen = calls["count"], []
    assert steps >= 9, "open, fsync, rename and folder's fsync, twice, and the old one's removal"
    for at in range(1, steps + 1):
        calls.update({"count": 0, "at": at, "raise": Crash()})
        with pytest.raises(Crash):
            checkpoint.save(tmp_path, numbered(at + 1))
        calls["at"] = 0
        seen.append(number_of(tmp_path) == at + 1)
        checkpoint.clean(tmp_path)
        assert len(list(tmp_path.iterdir())) == 2
        checkpoint.save(tmp_path, numbered(at + 1))
    assert seen == sorted(seen), "once the new one is there, it stays"
    assert not seen[0]
    assert seen[-1]


@pytest.mark.parametrize(
    ("code", "sentence"),
    [(errno.ENOSPC, "No space left on device"), (errno.EROFS, "Read-only file system")],
    ids=["disk full", "read-only"],
)
def test_failed_save_keeps_the_old_checkpoint(
    code: int, sentence: str, calls: dict[str, Any], tmp_path: Path
) -> None:
    checkpoint.save(tmp_path, numbered(0))
    for at in (1, 2, 3):
        calls.update({"count": 0, "at": at, "raise": OSError(code, os.strerror(code))})
        with pytest.raises(SaveError, match=f"{sentence}; what was saved before is intact"):
            checkpoint.save(tmp_path, numbered(1))
        assert number_of(tmp_path) == 0
        assert not list(tmp_path.glob(".*.tmp"))


def test_clean_removes_only_strays(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, numbered(4))
    mine = {"mine.safetensors", "checkpoint-best.safetensors", ".notes.tmp", "log.jsonl"}
    kept = {path.name for path in tmp_path.iterdir()} | mine
    for name in mine:
        (tmp_path / name).touch()
    for name in ("checkpoint-000009.safetensors", ".checkpoint.json.tmp"):
        (tmp_path / name).touch()
    assert len(checkpoint.clean(tmp_path)) == 2
    assert {path.name for path in tmp_path.iterdir()} == kept
