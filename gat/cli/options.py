"""What can be asked for on the command line: one dataclass per sub-command, help included.

Importing this is quick; each ``run`` imports what it needs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from tyro.conf import FlagCreatePairsOff, Positional, UseAppendAction

from gat.cli.arguments import NUMBER, WHOLE, File, Folder, given
from gat.cli.bench_options import Bench

__all__ = ["Bench", "Datasets", "Evaluate", "Inspect", "Reproduce", "Results", "Train", "parse"]

DESCRIPTION = (
    "Graph attention networks: train, evaluate, reproduce published results, and measure speed. "
    "`gat SUBCOMMAND --help` tells more; `gat --version` prints the version."
)


RECIPE = "(default: the recipe's)"
Count = Annotated[int | None, WHOLE, given("N", RECIPE)]
Number = Annotated[float | None, NUMBER, given("X", RECIPE)]


@dataclass(frozen=True)
class Train:
    """Train a graph attention network, or one on sentences, sequences, images or documents.

    The configuration is the data set's own recipe (an experiment under experiments/DATASET) where
    there is one, then --config, then the options given here. The run is kept in a folder under
    runs/ and can be continued with --resume after Ctrl-C, a kill or a crash.

    Examples: `gat train`; `gat train cora --seed 1`; `gat train dates/transformer`;
    `gat train --edges edges.csv --nodes nodes.csv --label topic`.
    """

    dataset: Annotated[
        Positional[str | None], given("[DATASET]", "(default: digits, which needs no network)")
    ] = None
    """A data set (`gat datasets` lists them) or an experiment's recipe (`gat reproduce`)."""

    edges: File = None
    """A graph of your own: its edges (CSV, or one .npz or .graphml file that holds everything)."""
    nodes: File = None
    """Its nodes (CSV): an id, features, and the label."""
    label: Annotated[str | None, given("COLUMN")] = None
    """The column to predict; nodes without a value there are unlabelled."""

    epochs: Count = None
    """At most so many epochs."""
    seed: Count = None
    """Seed of weights, dropout and order."""
    split: Count = None
    """Which of the data set's splits, from 0."""
    attention: Annotated[Literal["gat", "gatv2"] | None, given("{gat,gatv2}", RECIPE)] = None
    """Which attention."""
    layers: Count = None
    """Number of layers."""
    hidden: Count = None
    """Channels per head of the hidden layers."""
    heads: Count = None
    """Heads of the hidden layers."""
    dropout: Number = None
    """One value for all three dropouts: on features, on attention weights, on projected values."""
    lr: Number = None
    """Learning rate."""
    weight_decay: Number = None
    """L2 penalty."""
    device: Annotated[str | None, given("NAME", "(default: a GPU if there is one)")] = None
    """auto, cpu, cuda or cuda:N."""

    memory_budget: Annotated[str | None, given("AMOUNT", "(e.g. 16GiB)")] = None
    """The most memory to use. What training needs is predicted first, per node and per edge: if
    the whole graph does not fit, sampled batches are used where [sampling] has settings or
    --set sampling.name=auto allows it; else the run is refused, with the numbers."""

    config: File = None
    """A configuration (TOML) that takes the place of the recipe."""
    set: Annotated[UseAppendAction[tuple[str, ...]], given("KEY=VALUE")] = ()
    """Any other setting, e.g. --set stopping.patience=50; may be given again."""
    run_dir: Folder = None
    """Folder of this run (default: a new one under runs/)."""
    resume: Annotated[Path | None, given("RUN")] = None
    """Continue the run in this folder."""
    root: Folder = None
    """Where the data lie as NAME/raw/FILE; looked in before GAT_DATA and the user's cache."""
    skip_baselines: Annotated[FlagCreatePairsOff[bool], given(None)] = False
    """Leave out logistic regression and label spreading."""

    def run(self) -> None:
        from gat.cli.train import train_command

        train_command(self)


@dataclass(frozen=True)
class Evaluate:
    """Score the weights that a run kept, on all parts of its data."""

    run_dir: Annotated[Positional[Path], given("RUN")]
    """Folder of a run of `gat train`."""

    def run(self) -> None:
        from gat.cli.train import evaluate_command

        evaluate_command(self)


@dataclass(frozen=True)
class Inspect:
    """What a run's attention looks at, and whether that means anything.

    Without an option for a file it prints a verdict for every head. Examples: `gat inspect`, of the
    newest run; `gat inspect --node 42 --png 42.png`; `gat inspect --html page.html`;
    `gat inspect RUN --report report.md`.
    """

    run_dir: Annotated[Positional[Path | None], given("[RUN]", "(default: the newest)")] = None
    """Folder of a run of `gat train`."""

    node: Annotated[str | None, given("ID", "(default: an example)")] = None
    """The node to look at closely: its name in the data, or its number; of a run on sentences,
    images or documents, the number of an example in the test part."""
    layer: Annotated[str | None, given("NAME", "(default: the first)")] = None
    """The layer to draw."""
    head: Annotated[int | None, WHOLE, given("N", "(default: their mean, and some)")] = None
    """The head to draw."""
    hops: Annotated[int, WHOLE, given("N", "(default: 2)")] = 2
    """How far around the node."""
    graph: Annotated[int | None, WHOLE, given("N", "(default: the first with test nodes)")] = None
    """Of data with several graphs, which one."""

    html: File = None
    """Write a page to look around in, one file that works offline: of what reaches --node,
    or of the whole graph, if it has at most 5000 edges."""
    png: File = None
    """Write a picture of the node's neighbourhood, or of what the example's answer looked at."""
    pictures: Folder = None
    """Write every picture into this folder."""
    report: File = None
    """Write a report in Markdown, the same as JSON beside it, and pictures into --pictures or a
    folder beside it."""
    save: Folder = None
    """Write the weights themselves, as Arrow files, into this folder."""
    faithfulness: Annotated[int, WHOLE, given("N", "(default: 50)")] = 50
    """Test nodes whose edges the report takes away to see what predictions depend on; 0: none."""
    explainer: Annotated[FlagCreatePairsOff[bool], given(None)] = False
    """Compare with GNNExplainer too, which takes long."""

    def run(self) -> None:
        from gat.cli.inspect import inspect_command

        inspect_command(self)


@dataclass(frozen=True)
class Reproduce:
    """Run an experiment over seeds and set it beside the published row.

    Every seed is stored with its configuration, versions and machine; seeds already there are
    kept, so an interrupted reproduction continues. Without a name, the experiments are listed.

    Where the real data of OGB cannot be had, --replica 0.01 runs the recipe on a planted graph of a
    hundredth of the size, beside baselines; such results are kept apart.
    """

    experiment: Annotated[Positional[str | None], given("[EXPERIMENT]", "(e.g. cora/gat)")] = None
    """DATASET/NAME."""
    seeds: Annotated[int | None, WHOLE, given("N", "(default: the experiment's)")] = None
    """Number of runs, with seeds 0 to N - 1."""
    jobs: Annotated[int, WHOLE, given("N", "(default: 1)")] = 1
    """Runs at a time, in processes that share the cores."""
    output: Folder = None
    """Where results go (default: experiments/results of the checkout, with --replica
    experiments/replicas)."""
    root: Folder = None
    """Where the data lie."""
    replica: Annotated[float | None, NUMBER, given("SCALE")] = None
    """Run on a replica of this scale (1: the real sizes), written into the cache, with one seed
    unless --seeds says more."""
    epochs: Count = None
    """With --replica: at most so many epochs."""
    fresh: Annotated[FlagCreatePairsOff[bool], given(None)] = False
    """Run every seed again, also those already stored."""

    def run(self) -> None:
        from gat.cli.reproduce import reproduce_command

        reproduce_command(self)


@dataclass(frozen=True)
class Datasets:
    """List the data sets, or show the card of one."""

    name: Annotated[Positional[str | None], given("[NAME]")] = None
    """A data set."""

    def run(self) -> None:
        from gat.cli.lists import datasets_command

        datasets_command(self)


@dataclass(frozen=True)
class Results:
    """Render the stored results as experiments/RESULTS.md, those on replicas as REPLICAS.md.

    Also renews the table in README.md between `<!-- results -->` and `<!-- /results -->`.
    With --output, RESULTS.md is written into that folder and nothing else is touched.
    """

    output: Folder = None
    """Folder of results (default: experiments/results of the checkout)."""
    check: Annotated[FlagCreatePairsOff[bool], given(None)] = False
    """Write nothing; fail if a file is out of date."""

    def run(self) -> None:
        from gat.cli.lists import results_command

        results_command(self)


Command = Train | Evaluate | Inspect | Reproduce | Datasets | Results | Bench


def parse(arguments: Sequence[str]) -> Command:
    """The options asked for; SystemExit with 0 after --help, with 2 after a usage error."""
    named = {name.__name__.lower(): name for name in Command.__args__}
    return tyro.extras.subcommand_cli_from_dict(
        named, prog="gat", description=DESCRIPTION, args=list(arguments) or ["--help"]
    )
