"""Results of experiments: one JSON file per seed, and their mean; :mod:`gat.train.result_tables`
shows them.

A result holds all that is needed to judge it: the resolved configuration, versions, machine (no
host name, no paths) and commit. Numbers are fractions in 0..1 in files and per cent when shown.
"""

import json
import math
import os
import platform
import statistics
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from gat.errors import ConfigError, CorruptDataError
from gat.train.checkpoint import write_atomically
from gat.train.kinds import Config, read_config
from gat.train.run import versions as run_versions

__all__ = [
    "Published",
    "SeedResult",
    "Summary",
    "commit_and_changes",
    "machine",
    "stored",
    "versions",
]

# Settings that say where and how to compute, not what.
_LOCAL = ("root", "download")


class Published(BaseModel):
    """One row of a paper's table. ``value`` and ``std`` are per cent."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    value: float
    std: float | None = None
    metric: str
    method: str
    table: str
    paper: str
    url: str
    protocol: str

    def __str__(self) -> str:
        # As many digits as the paper gives.
        return f"{self.value}" if self.std is None else f"{self.value} ± {self.std}"

    @property
    def source(self) -> str:
        return f"{self.paper}, {self.table}: {self.method}; {self.protocol}"


@dataclass(frozen=True)
class SeedResult:
    """What one seed gave; ``seconds`` of training, measured on ``machine``."""

    experiment: str
    seed: int
    split: int
    metric: str
    train: float
    val: float
    test: float
    best_epoch: int
    epochs: int
    seconds: float
    config: dict[str, Any] = field(repr=False)
    versions: dict[str, str] = field(repr=False)
    machine: dict[str, Any] = field(repr=False)
    commit: str | None = None
    uncommitted_changes: bool = False
    baselines: dict[str, float] = field(default_factory=dict, repr=False)
    # train, val and test before Correct and Smooth, where train, val and test above are after it.
    unsmoothed: dict[str, float] = field(default_factory=dict, repr=False)
    # What else was measured on the test part.
    measures: dict[str, float] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "config", _portable(self.config))

    def stands_for(self, config: Config, versions: Mapping[str, str]) -> bool:
        """Whether a run of ``config`` with these versions would only repeat this one."""
        try:
            # Read again, so that a setting newer than the result has its default.
            mine = _portable(read_config(self.config).to_dict())
        except ConfigError:
            return False
        return mine == _portable(config.to_dict()) and self.versions == dict(versions)

    def write(self, folder: Path) -> Path:
        """Store as ``folder/seed-NNN.json``; a reader never sees half a file."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"seed-{self.seed:03d}.json"
        write_atomically(path, (json.dumps(asdict(self), indent=1) + "\n").encode())
        return path

    @classmethod
    def read(cls, folder: Path, seed: int) -> "SeedResult | None":
        """The stored result of ``seed``, or None."""
        path = folder / f"seed-{seed:03d}.json"
        return cls.load(path) if path.is_file() else None

    @classmethod
    def load(cls, path: Path) -> "SeedResult":
        """The result in ``path``; CorruptDataError if it is not one."""
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            return cls(**values)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CorruptDataError(
                f"{path} is not a result of gat ({type(error).__name__}: {error}); "
                "remove it and run gat reproduce again"
            ) from None


def _portable(config: Mapping[str, Any]) -> dict[str, Any]:
    data = {key: value for key, value in config["data"].items() if key not in _LOCAL}
    # The checkpoint's cadence does not change what is computed.
    return {**{k: v for k, v in config.items() if k != "checkpoint"}, "data": data}


@dataclass(frozen=True)
class Summary:
    """All seeds of one experiment. ``mean`` and ``std`` (sample, n - 1) are per cent."""

    name: str
    results: tuple[SeedResult, ...]

    @property
    def mean(self) -> float:
        return statistics.fmean(100 * result.test for result in self.results)

    @property
    def std(self) -> float:
        values = [100 * result.test for result in self.results]
        return statistics.stdev(values) if len(values) > 1 else math.nan

    def baselines(self) -> dict[str, float]:
        """Mean test score of each baseline over the runs, per cent; empty unless all have it."""
        names = self.results[0].baselines
        return {
            name: statistics.fmean(100 * result.baselines[name] for result in self.results)
            for name in names
            if all(name in result.baselines for result in self.results)
        }

    def measures(self) -> dict[str, float]:
        """Mean over the runs of what else was measured, shares in per cent."""
        names = self.results[0].measures
        return {
            name: statistics.fmean(
                result.measures[name] * (100 if name.endswith("accuracy") else 1)
                for result in self.results
            )
            for name in names
            if all(name in result.measures for result in self.results)
        }

    def __str__(self) -> str:
        few = len(self.results) < 2
        return f"{self.mean:.2f}" if few else f"{self.mean:.2f} ± {self.std:.2f}"

    def verdict(self, published: Published | None) -> str:
        """Where our mean lies: "inside", "above" or "below" the published value ± std."""
        if published is None:
            return "no published row"
        # Rounded as the paper rounds, so that 82.96 counts as its 83.0.
        digits = len(str(published.value).partition(".")[2])
        gap = round(self.mean, digits) - published.value
        within = abs(gap) <= (published.std or 0.0) + 1e-9
        return "inside the band" if within else ("above the band" if gap > 0 else "below the band")


def stored(folder: Path) -> dict[str, Summary]:
    """Every experiment that has results under ``folder``, by name."""
    found: dict[str, list[SeedResult]] = {}
    for path in sorted(folder.glob("*/*/seed-*.json")):
        result = SeedResult.load(path)
        found.setdefault(result.experiment, []).append(result)
    return {name: Summary(name, tuple(results)) for name, results in found.items()}


def versions() -> dict[str, str]:
    """Versions of Python, gat and what computes for it."""
    return {name: run_versions()[name] for name in ("python", "gat", "torch", "torch_geometric")}


def machine() -> dict[str, Any]:
    """What computes: processor, cores, threads, memory; neither host name nor paths."""
    import torch

    facts: dict[str, Any] = {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory": _memory(),
        "system": f"{platform.system()} {platform.machine()}",
    }
    if torch.cuda.is_available():
        facts["gpu"] = torch.cuda.get_device_name()
    return facts


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"


def _memory() -> str:
    try:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return "unknown"
    return f"{size / 2**30:.0f} GiB"


def commit_and_changes() -> tuple[str | None, bool]:
    """The checkout's commit, and whether gat/ differs from it; (None, False) elsewhere."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None, False
    try:
        commit = _git(root, "rev-parse", "HEAD")
        changed = _git(root, "status", "--porcelain", "--untracked-files=no", "--", "gat")
    except (OSError, subprocess.SubprocessError):
        return None, False
    return commit, bool(changed)


def _git(root: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=True)
    return done.stdout.strip()
