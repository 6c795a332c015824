"""Experiments: one file per published row, run over seeds and set beside that row.

The files stand in ``experiments/DATASET/NAME.toml``; a file with a ``sweep`` is an experiment for
each of its values. They are run in :mod:`gat.train.reproducing`; how results are stored, summed up
and shown is in :mod:`gat.train.results`.
"""

import difflib
import tomllib
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gat.errors import ConfigError, InputError
from gat.shelf import shelf
from gat.train.config import TrainConfig
from gat.train.kinds import Config, read_config
from gat.train.results import Published, Summary

__all__ = [
    "Experiment",
    "experiment",
    "experiments",
    "recipe_for",
    "results_folder",
]


class Experiment(BaseModel):
    """One experiment: a data set, a configuration, and the published row it stands beside.

    vary_split: run k uses split k of the data set, wrapping round; else all use split 0.
    baselines: run scikit-learn's baselines on the same splits too (where no row is published).
    also: further published rows, for comparison only.
    swept: the name of the file's sweep and this experiment's value, where it is one of a sweep.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    title: str
    dataset: str
    seeds: int = Field(default=10, ge=1)
    vary_split: bool = False
    baselines: bool = False
    notes: str = ""
    published: Published | None = None
    also: tuple[Published, ...] = ()
    swept: tuple[str, str] | None = None
    config: Config

    @property
    def of_nodes(self) -> bool:
        """Whether it is node classification; else it is of examples."""
        return isinstance(self.config, TrainConfig)

    def config_of(self, seed: int, num_splits: int) -> Config:
        """The configuration of run ``seed``."""
        split = seed % num_splits if self.vary_split else self.config.data.split
        return self.config.updated(seed=seed, **{"data.split": split})

    def current(self, summary: Summary) -> Summary:
        """Only the results that this file, as it is now, would give again."""
        kept = [
            result
            for result in summary.results
            if result.stands_for(
                self.config.updated(seed=result.seed, **{"data.split": result.split}),
                result.versions,
            )
        ]
        return Summary(self.name, tuple(kept))


class Sweep(BaseModel):
    """One setting that takes several values: NAME.toml is then the experiments NAME-tVALUE, if "t"
    is the sweep's name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: str
    name: str
    values: tuple[int | float | str, ...]


def experiments() -> dict[str, Experiment]:
    """Every experiment by name ("cora/gat"), in the order of their files."""
    found: dict[str, Experiment] = {}
    for name, path in _files().items():
        found |= {entry.name: entry for entry in _read(name, path)}
    return found


def experiment(name: str) -> Experiment:
    """The experiment called ``name``; InputError lists near matches and those of its data set."""
    files = _files()
    if name in files:
        first, *others = _read(name, files[name])
        if first.name == name:
            return first
        raise InputError(
            f"{name} is swept; name one of {', '.join(each.name for each in (first, *others))}"
        )
    known = experiments()
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    # All of them would bury what is said.
    dataset = name.partition("/")[0]
    own = [one for one in known if one.startswith(f"{dataset}/")]
    listed = f"those of {dataset} are: {', '.join(own)}" if own else "gat reproduce lists them"
    raise InputError(f"there is no experiment {name!r}; {hint}{listed}")


def recipe_for(dataset: str) -> Config:
    """The configuration for a data set: its experiment's, else the defaults with early stopping;
    or that of the experiment of this name ("dates/transformer")."""
    wanted = dataset.strip().lower().replace("_", "-")
    if "/" in wanted:
        return experiment(wanted).config
    name, files = f"{wanted}/gat", _files()
    if name in files:
        return _read(name, files[name])[0].config
    recipe = _recipe(wanted)
    if recipe is not None:
        return experiment(f"{wanted}/{recipe}").config
    return TrainConfig().updated(**{"data.name": dataset})


def _recipe(dataset: str) -> str | None:
    from gat.data import cards

    found = cards().get(dataset)
    return None if found is None else found.recipe


def _files() -> dict[str, Path]:
    folder = shelf("experiments")
    # By name, not by path: monotonic stands before monotonic-10000.
    paths = sorted(folder.glob("*/*.toml"), key=lambda path: path.with_suffix("").parts)
    return {path.relative_to(folder).with_suffix("").as_posix(): path for path in paths}


def _read(name: str, path: Path) -> list[Experiment]:
    """The experiments of a file: one, or one for each value of its sweep."""
    try:
        facts = tomllib.loads(path.read_text(encoding="utf-8"))
        settings = facts.pop("config", {})
        settings["data"] = {**settings.get("data", {}), "name": facts.get("dataset")}
        config, sweep = read_config(settings), facts.pop("sweep", None)
        if sweep is None:
            return [Experiment(name=name, config=config, **facts)]
        sweep = Sweep(**sweep)
        return [
            Experiment(
                name=f"{name}-{sweep.name}{value}",
                config=config.updated(**{sweep.key: value}),
                swept=(sweep.name, str(value)),
                **facts,
            )
            for value in sweep.values
        ]
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        known = ", ".join(sorted({*Experiment.model_fields, "sweep"} - {"name", "swept"}))
        raise ConfigError(f"{path}: {key}: {first['msg']}; known keys: {known}") from None
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def results_folder(output: Path | None = None) -> Path:
    """Where results are kept: ``output``, else the checkout's, else ``gat-results`` here."""
    if output is not None:
        return Path(output)
    experiments = shelf("experiments")
    in_checkout = (experiments.parent / "pyproject.toml").is_file()
    return experiments / "results" if in_checkout else Path("gat-results")
