"""Checkpoints that are whole or absent: safetensors with JSON metadata, checksum, no pickle.

A folder holds ``checkpoint-000012.safetensors`` (everything: tensors, and JSON in the metadata)
and ``checkpoint.json``, which names that file, its size and its sha256. Both are written to a
temporary file, fsynced and renamed; the second is renamed last, so at whatever moment a process
dies ``checkpoint.json`` names a complete file: the one before, or the new one.
"""

import contextlib
import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from gat.errors import CorruptDataError, GatError

__all__ = ["Checkpoint", "SaveError", "clean", "exists", "load", "save", "write_atomically"]

MANIFEST = "checkpoint.json"
FORMAT = 1
# Checkpoints, and a run's files on their way to their names; nobody else's "checkpoint-best".
OURS = re.compile(
    r"checkpoint-\d{6,}\.safetensors|"
    r"\.(checkpoint-\d{6,}\.safetensors|checkpoint\.json|config\.toml|log\.jsonl|metrics\.json|"
    r"versions\.json)\.tmp"
)


class SaveError(GatError, OSError):
    """A file could not be written (disk full, read-only folder); what was there is intact."""


@dataclass
class Checkpoint:
    """tensors by name, and ``meta``, JSON values."""

    tensors: dict[str, Tensor]
    meta: dict[str, Any]

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The tensors whose names start with ``prefix/``, without it."""
        start = f"{prefix}/"
        return {k.removeprefix(start): v for k, v in self.tensors.items() if k.startswith(start)}


def exists(folder: Path) -> bool:
    """Whether a checkpoint was ever completed here."""
    return (folder / MANIFEST).exists()


def save(folder: Path, checkpoint: Checkpoint) -> Path:
    """Make ``checkpoint`` the folder's checkpoint, then remove the one before.

    Raises SaveError, with the one before intact.
    """
    # Copies, since safetensors refuses tensors that share memory, as tied weights do.
    data = safetensors.torch.save(
        {k: v.detach().clone().cpu().contiguous() for k, v in checkpoint.tensors.items()},
        {"format": "pt", "gat": json.dumps(checkpoint.meta)},
    )
    before = _manifest(folder)["file"] if exists(folder) else "checkpoint-000000.safetensors"
    path = folder / f"checkpoint-{int(before[11:-12]) + 1:06d}.safetensors"
    manifest = {
        "format": FORMAT,
        "file": path.name,
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    write_atomically(path, data)
    write_atomically(folder / MANIFEST, (json.dumps(manifest) + "\n").encode())
    (folder / before).unlink(missing_ok=True)
    return path


def load(folder: Path) -> Checkpoint:
    """The folder's checkpoint. Raises CorruptDataError unless every byte is as it was written."""
    for _ in range(2):
        manifest = _manifest(folder)
        path = folder / manifest["file"]
        with contextlib.suppress(FileNotFoundError):
            return _parse(path, path.read_bytes(), manifest)
        # A run still training may have replaced the checkpoint between our two readings.
    raise CorruptDataError(
        f"{folder / MANIFEST} names {path.name}, which is not there; restore that file from a "
        "copy, or train anew in another folder"
    )


def clean(folder: Path) -> list[Path]:
    """Remove what a process that died while saving left behind; call it holding the lock."""
    kept = _manifest(folder)["file"] if exists(folder) else ""
    strays = [p for p in folder.iterdir() if OURS.fullmatch(p.name) and p.name != kept]
    for path in strays:
        path.unlink(missing_ok=True)
    return strays


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that it is there whole or not at all, power cut included."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise SaveError(
            f"could not write {path} ({len(data)} bytes): {error.strerror or error}; what was "
            "saved before is intact: free space or mend the permissions, then resume"
        ) from error


def _sync_folder(folder: Path) -> None:
    """Make a rename last; systems that cannot open a folder (Windows) have no need."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_bytes())
        name, size, digest = manifest["file"], manifest["bytes"], manifest["sha256"]
        # The name becomes a path: nothing but a checkpoint beside the manifest is accepted.
        sound = name == f"checkpoint-{int(name[11:-12]):06d}.safetensors"
        if not (sound and isinstance(size, int) and isinstance(digest, str)):
            raise ValueError("unexpected values")
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptDataError(
            f"{path} is damaged ({error}); train anew in another folder"
        ) from None
    if manifest.get("format") != FORMAT:
        raise CorruptDataError(
            f"{path}: format {manifest.get('format')!r} is not the one this version of gat reads "
            f"({FORMAT}); use the version that wrote it (versions.json)"
        )
    return manifest


def _parse(path: Path, data: bytes, manifest: dict[str, Any]) -> Checkpoint:
    found = hashlib.sha256(data).hexdigest()
    if len(data) != manifest["bytes"] or found != manifest["sha256"]:
        raise CorruptDataError(
            f"{path} is damaged: expected {manifest['bytes']} bytes with sha256 "
            f"{manifest['sha256'][:12]}…, found {len(data)} with {found[:12]}…; restore it from "
            "a copy, or train anew in another folder"
        )
    try:
        tensors = safetensors.torch.load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        meta = json.loads(header["__metadata__"]["gat"])
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise CorruptDataError(
            f"{path} is not a checkpoint of gat: {error}; nothing of it was loaded"
        ) from None
    return Checkpoint(tensors, meta)
