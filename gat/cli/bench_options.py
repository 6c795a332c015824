"""`gat bench` as a whole: the measurements (`bench_measured.py`), the rows and their report."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import FlagCreatePairsOff, OmitArgPrefixes, Positional, subcommand

from gat.cli.arguments import WHOLE, given
from gat.cli.bench_large import Inference, Load, Sample, Sequence, Train
from gat.cli.bench_measured import Conv, Inspect, Layer, Model, Scaling, Sparse, Step

__all__ = ["Bench", "Report", "Target"]


@dataclass(frozen=True, kw_only=True)
class Target:
    """Measure a row the project answers for, and store it in benchmarks/results.

    Without a name, the rows are listed with what was measured of them.
    """

    name: Annotated[Positional[str | None], given("[NAME]")] = None
    """A row, e.g. gat-8x32."""
    missing: Annotated[FlagCreatePairsOff[bool], given(None)] = False
    """Every row that has no record yet, one after the other; may be interrupted and run again."""
    threads: Annotated[int | None, WHOLE, given("N", "(default: torch's own number)")] = None
    """Threads."""
    repeats: Annotated[int, WHOLE] = 7
    """Samples of each peer, taken in turn; their median counts. Fewer where a run takes minutes."""
    output: Annotated[
        Path | None, given("DIR", "(default: benchmarks/results of the checkout)")
    ] = None
    """Folder of records."""

    def run(self) -> None:
        from gat.cli.bench import target_command

        target_command(self)


@dataclass(frozen=True, kw_only=True)
class Report:
    """Render the stored records as benchmarks/RESULTS.md.

    Also renews the table in README.md between `<!-- bench -->` and `<!-- /bench -->`.
    With --output, RESULTS.md is written into that folder and nothing else is touched.
    """

    output: Annotated[
        Path | None, given("DIR", "(default: benchmarks/results of the checkout)")
    ] = None
    """Folder of records."""
    check: Annotated[FlagCreatePairsOff[bool], given(None)] = False
    """Write nothing; fail if a file is out of date."""

    def run(self) -> None:
        from gat.cli.bench import report_command

        report_command(self)


@dataclass(frozen=True)
class Bench:
    """Measure speed and memory, ours beside others' in one run.

    `gat bench SUBCOMMAND --help` tells more.
    """

    what: OmitArgPrefixes[
        Annotated[Layer, subcommand("layer", prefix_name=False)]
        | Annotated[Model, subcommand("model", prefix_name=False)]
        | Annotated[Conv, subcommand("conv", prefix_name=False)]
        | Annotated[Scaling, subcommand("scaling", prefix_name=False)]
        | Annotated[Step, subcommand("step", prefix_name=False)]
        | Annotated[Sparse, subcommand("sparse", prefix_name=False)]
        | Annotated[Inspect, subcommand("inspect", prefix_name=False)]
        | Annotated[Sequence, subcommand("sequence", prefix_name=False)]
        | Annotated[Sample, subcommand("sample", prefix_name=False)]
        | Annotated[Train, subcommand("train", prefix_name=False)]
        | Annotated[Inference, subcommand("inference", prefix_name=False)]
        | Annotated[Load, subcommand("load", prefix_name=False)]
        | Annotated[Target, subcommand("target", prefix_name=False)]
        | Annotated[Report, subcommand("report", prefix_name=False)]
    ]

    def run(self) -> None:
        self.what.run()
