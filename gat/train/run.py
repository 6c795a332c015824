"""A run's folder: resolved configuration, log, metrics, versions, lock and checkpoint.

config.toml     the resolved configuration        metrics.json   the result, at the end
log.jsonl       one line per evaluated epoch      versions.json  what it ran on
checkpoint.json, checkpoint-*.safetensors         see gat.train.checkpoint
tensorboard/    where TensorBoard is installed    .lock          held while training
"""

import contextlib
import importlib.util
import json
import math
import os
import platform
import time
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from torch import nn

from gat.errors import RunLockedError
from gat.train import checkpoint

__all__ = ["LOCK", "EpochRecord", "RunFolder", "RunResult", "new_run_dir", "versions"]


# The first file of a run; it stays, so its presence tells a run's folder from any other.
LOCK = ".lock"
# A line per evaluated epoch.
LOG = "log.jsonl"


@dataclass(frozen=True)
class EpochRecord:
    """One evaluated epoch, as the log and ``on_epoch`` have it.

    train_loss: mean over the epoch's steps; val_loss, val: loss and metric of the validation
    nodes; best_val: the metric at ``best_epoch``, whose weights are kept; lr: of the next step;
    seconds: of training so far, earlier sessions included.
    """

    epoch: int
    train_loss: float
    val_loss: float
    val: float
    best_val: float
    best_epoch: int
    lr: float
    seconds: float


@dataclass(frozen=True)
class RunResult:
    """What a run came to. ``metric`` names what train, val and test are; fractions in 0..1.

    They are of the weights kept at ``best_epoch``. ``epochs``: how many were trained; ``seconds``:
    of training; ``stopped_by``: "patience", "epochs", or "" for a run still unfinished; ``model``
    has the kept weights. ``smoothed``: the three of Correct and Smooth after that, where it is on;
    ``measures``: what else was measured on the test part, by name.
    """

    metric: str
    train: float
    val: float
    test: float
    best_epoch: int
    epochs: int
    seconds: float
    run_dir: Path | None
    stopped_by: str
    smoothed: dict[str, float] = field(default_factory=dict)
    measures: dict[str, float] = field(default_factory=dict)
    model: nn.Module | None = field(default=None, repr=False, compare=False)

    @property
    def reported(self) -> dict[str, float]:
        """train, val and test as a table has them: with all that the configuration asks for."""
        return self.smoothed or {name: getattr(self, name) for name in ("train", "val", "test")}

    def to_dict(self) -> dict[str, Any]:
        """JSON values, without the model; NaN (a part without nodes) as None."""
        names = ("metric", "train", "val", "test", "best_epoch", "epochs", "seconds", "stopped_by")
        smoothed = {name: _finite(value) for name, value in self.smoothed.items()}
        values = {name: _finite(getattr(self, name)) for name in names}
        return values | {"smoothed": smoothed, "measures": self.measures}


def new_run_dir(name: str, seed: int = 0, parent: str | Path = "runs") -> Path:
    """A folder name not yet taken: ``runs/NAME-seed0-20260131-235959``; it is not made yet."""
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    stem = f"{name.replace('/', '-')}-seed{seed}-{stamp}"
    candidates = [Path(parent) / stem, *(Path(parent) / f"{stem}-{n}" for n in range(2, 10_000))]
    return next(path for path in candidates if not path.exists())


def versions() -> dict[str, Any]:
    """What results may depend on besides configuration and data."""
    import torch_geometric

    from gat import __version__

    return {
        "gat": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torch_geometric": torch_geometric.__version__,
        "platform": platform.platform(),
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


class RunFolder:
    """The open folder of a run: made if missing, locked until closed.

    Raises RunLockedError when another process has it, and SaveError where it cannot be made.
    """

    # Log lines wait this long (seconds) for company, so that writing costs epochs nothing.
    FLUSH_SECONDS = 1.0

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self._made = not self.path.exists()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(self.path / LOCK, timeout=0)
            self._lock.acquire()
        except Timeout:
            raise RunLockedError(
                f"{self.path} is in use by another process; wait for it to end, or train in "
                "another folder"
            ) from None
        except OSError as error:
            raise checkpoint.SaveError(
                f"cannot train in {self.path}: {error.strerror or error}; choose a folder that "
                "can be written to"
            ) from error
        self._waiting: list[dict[str, Any]] = []
        self._flushed = time.monotonic()
        self._board: Any = None

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(self, *error: object) -> None:
        try:
            with contextlib.suppress(checkpoint.SaveError):
                self.flush()
            if self._board is not None:
                self._board.close()
        finally:
            if any(error) and self._made:
                self._leave()
            self._lock.release()

    def _leave(self) -> None:
        """Nothing behind of a run that was refused before it began."""
        with contextlib.suppress(OSError):
            files = list(self.path.iterdir())
            if all(each.name in (LOCK, LOG) and not each.stat().st_size for each in files):
                for each in files:
                    each.unlink()
                self.path.rmdir()

    def write(self, name: str, text: str) -> None:
        """Write a file of the folder, whole or not at all."""
        checkpoint.write_atomically(self.path / name, text.encode())

    def write_json(self, name: str, values: Any) -> None:
        self.write(name, json.dumps(values, indent=2) + "\n")

    def note_versions(self) -> dict[str, Any]:
        """Write versions.json, or add this session to it; returns the first session's."""
        path, now, sessions = self.path / "versions.json", versions(), []
        # It is there to be read by people: one that was edited or lost does not stop a run.
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            sessions = json.loads(path.read_text())["sessions"]
        self.write_json("versions.json", {"sessions": [*sessions, now]})
        return sessions[0] if sessions else now

    def log(self, record: EpochRecord | dict[str, Any]) -> None:
        """Add a line to log.jsonl, soon."""
        values = asdict(record) if isinstance(record, EpochRecord) else record
        self._waiting.append({k: _finite(v) for k, v in values.items()})
        if time.monotonic() - self._flushed > self.FLUSH_SECONDS:
            self.flush()

    def flush(self, *, sync: bool = False) -> None:
        """Write the waiting lines; ``sync`` makes them outlast a power cut."""
        self._flushed = time.monotonic()
        lines = "".join(json.dumps(record) + "\n" for record in self._waiting)
        try:
            with open(self.path / LOG, "a", encoding="utf-8") as file:
                file.write(lines)
                file.flush()
                if sync:
                    os.fsync(file.fileno())
        except OSError as error:
            raise checkpoint.SaveError(
                f"could not write {self.path / LOG}: {error.strerror or error}; the "
                "checkpoint is intact: free space or mend the permissions, then resume"
            ) from error
        self._to_board()
        self._waiting.clear()

    def cut_log(self, epoch: int) -> None:
        """Drop lines after ``epoch``, and what a dying process left half written."""
        path = self.path / LOG
        kept = []
        for line in path.read_text("utf-8", errors="replace").splitlines() if path.exists() else []:
            with contextlib.suppress(ValueError, KeyError, TypeError):
                if json.loads(line)["epoch"] <= epoch:
                    kept.append(line + "\n")
        self.write(LOG, "".join(kept))

    def open_board(self, epoch: int) -> None:
        """Write TensorBoard's events too, from ``epoch`` on, where it is installed."""
        if importlib.util.find_spec("tensorboard") is not None:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(self.path / "tensorboard"), purge_step=epoch + 1)

    def _to_board(self) -> None:
        for record in self._waiting if self._board is not None else []:
            for name in ("train_loss", "val_loss", "val", "lr"):
                if record.get(name) is not None:
                    self._board.add_scalar(name, record[name], record["epoch"])


def _finite(value: Any) -> Any:
    """JSON has no NaN and no infinities."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
