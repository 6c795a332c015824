"""`gat train` and `gat evaluate`: options to a configuration, then the trainer, then a table."""

import sys
import tomllib
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gat.cli.options import Evaluate, Train
from gat.cli.show import percent, progress, say, table
from gat.errors import InputError

if TYPE_CHECKING:
    from gat.train import RunResult, TrainConfig
    from gat.train.kinds import Config, Task

__all__ = ["evaluate_command", "network_name", "resolve", "train_command"]

# Options and the settings they stand for.
SETTINGS = {
    "edges": ("data.edges",),
    "nodes": ("data.nodes",),
    "label": ("data.label",),
    "root": ("data.root",),
    "split": ("data.split",),
    "epochs": ("epochs",),
    "seed": ("seed",),
    "device": ("device",),
    "attention": ("model.attention",),
    "layers": ("model.num_layers",),
    "hidden": ("model.hidden_channels",),
    "heads": ("model.heads",),
    "dropout": ("model.feature_dropout", "model.attention_dropout", "model.value_dropout"),
    "lr": ("optimizer.lr",),
    "weight_decay": ("optimizer.weight_decay",),
    "memory_budget": ("memory_budget",),
}
# The same of networks on examples, where theirs are called otherwise.
OF_EXAMPLES = {"layers": ("model.layers",), "dropout": ("model.dropout",)}
# Those that are paths.
PATHS = ("data.edges", "data.nodes", "data.root")


def train_command(options: Train) -> None:
    """Train, show the result, then the baselines."""
    from gat.train import TrainConfig, baselines, load_task, new_run_dir, train

    config = resolve(options)
    edges = config.data.edges if isinstance(config, TrainConfig) else None
    name = Path(edges).stem if edges else config.data.name
    task = load_task(config.data)
    run_dir = options.resume or options.run_dir or new_run_dir(name, config.seed)
    _say_task(task, config)
    if isinstance(config, TrainConfig):
        _say_plan(config, task)
    try:
        with progress(name, config.epochs) as on_epoch:
            result = train(
                config, run_dir, resume=options.resume is not None, task=task, on_epoch=on_epoch
            )
    except KeyboardInterrupt:
        # The second Ctrl-C, which does not wait for the step to end.
        print(f"gat: continue with: gat train --resume {run_dir}", file=sys.stderr)
        raise
    # Before the baselines, which may take longer than the patience of whoever waits.
    show_result(f"{network_name(config)} (this run)", result)
    say(f"run kept in {run_dir}")
    if isinstance(config, TrainConfig) and not options.skip_baselines:
        say("baselines on the same split (--skip-baselines leaves them out):")
        data = config.data
        others = baselines(task, data.split, normalize=data.normalize_features)
        rows = [[name, percent(score)] for name, score in others.items()]
        table([result.metric, "test %"], rows)


def evaluate_command(options: Evaluate) -> None:
    """Score the kept weights."""
    from gat.train import evaluate

    show_result("kept weights", evaluate(options.run_dir))


def resolve(options: Train) -> "Config":
    """The configuration asked for: recipe, file or earlier run, then options, then --set."""
    from gat.train import ExamplesConfig

    base = _base(options)
    changes: dict[str, Any] = {}
    of_examples = isinstance(base, ExamplesConfig)
    if of_examples and options.memory_budget is not None:
        raise InputError(
            f"--memory-budget is about graphs, whose memory is predicted, and {base.data.name} is "
            f"made of examples; take fewer at a time instead: --set batch_size=N"
        )
    for option, keys in (SETTINGS | (OF_EXAMPLES if of_examples else {})).items():
        value = getattr(options, option)
        if value is not None:
            changes |= dict.fromkeys(keys, str(value) if isinstance(value, Path) else value)
    changes |= dict(_setting(text) for text in options.set)
    config = base.updated(**_absolute(changes))
    given = getattr(config.data, "edges", None)
    if options.dataset is not None and given is not None:
        edges = f"data.edges = {given!r}"
        raise InputError(
            f"both the data set {options.dataset!r} and "
            f"{edges if options.edges is None else f'--edges {options.edges}'} were given; "
            "leave out one of them"
        )
    return config


def _absolute(changes: dict[str, Any]) -> dict[str, Any]:
    """Paths from the root, so that the run can be continued from any folder."""
    paths = {key: value for key, value in changes.items() if key in PATHS and value}
    return changes | {key: str(Path(value).absolute()) for key, value in paths.items()}


def _base(options: Train) -> "Config":
    from gat.train import TrainConfig, load_config
    from gat.train.experiment import recipe_for

    if options.resume is not None:
        return _resumed(options)
    if options.config is not None:
        config = load_config(options.config)
        data = {f"data.{name}": value for name, value in config.data.model_dump().items()}
        changes = _absolute({key: data[key] for key in PATHS if key in data})
        if options.dataset is not None:
            changes["data.name"] = options.dataset
        return config.updated(**changes)
    if options.edges is not None:
        return TrainConfig()
    return recipe_for(options.dataset or "digits")


def _resumed(options: Train) -> "Config":
    from gat.train import load_config

    assert options.resume is not None
    for name in ("dataset", "edges", "config", "run_dir"):
        if getattr(options, name) is not None:
            raise InputError(
                f"--resume continues the run in {options.resume} with its own data and "
                f"configuration; leave out {name.upper() if name == 'dataset' else _flag(name)}"
            )
    path = options.resume / "config.toml"
    if not path.is_file():
        raise InputError(
            f"{options.resume} holds no run to resume: {path} is missing; expected the folder "
            "that `gat train` named when it ended"
        )
    return load_config(path)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _setting(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not (key.strip() and equals):
        raise InputError(f"--set {text}: expected KEY=VALUE, e.g. --set stopping.patience=50")
    try:
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        # Not a number, list or quoted string: the bare word is meant.
        return key.strip(), value.strip()


def network_name(config: "Config") -> str:
    """The network's name, for the table."""
    model = config.model
    kind = getattr(model, "name", None)
    if kind is None:
        return str(getattr(model, "attention", "gat")).upper()
    parts = ("attention",) if hasattr(model, "attention") else ("cell", "pooling", "readout")
    told = [str(getattr(model, part)) for part in parts if hasattr(model, part)]
    off = ["gamma zero"] if getattr(model, "gamma", "") == "zero" else []
    return ", ".join([kind, *told, *off])


def _say_task(task: "Task", config: "Config") -> None:
    from gat.data import NodeTask

    if isinstance(task, NodeTask):
        facts = task.describe(config.data.split)
        facts["split"] = f"{config.data.split} of {facts.pop('splits')}"
    else:
        facts = task.describe()
    say(", ".join(f"{key} {value}" for key, value in facts.items()))
    for note in task.notes:
        say(f"note: {note}")


def _say_plan(config: "TrainConfig", task: Any) -> None:
    """Whether there is a teacher, and what the memory budget came to, if there is one; training
    then decides the same."""
    if config.distillation.enabled:
        say(f"first the teacher, then the student: each trains up to {config.epochs} epochs")
    if config.memory_budget is None and config.sampling.name != "auto":
        return
    from gat.train import choose

    with warnings.catch_warnings():
        # Training says them.
        warnings.simplefilter("ignore")
        say(choose(config, task).sentence)


def show_result(name: str, result: "RunResult") -> None:
    """The run's scores, in per cent of the task's metric."""
    rows = [[name, percent(result.train), percent(result.val), percent(result.test)]]
    if result.smoothed:
        rows.append(["with Correct and Smooth", *map(percent, result.smoothed.values())])
    table([result.metric, "train %", "val %", "test %"], rows)
    if result.measures:
        told = (
            f"{name.replace('_', ' ')} {percent(value) + ' %' if _is_share(name) else value}"
            for name, value in result.measures.items()
        )
        say(f"besides, on the test part: {', '.join(told)}")
    say(
        f"weights of epoch {result.best_epoch} of {result.epochs}, trained {result.seconds:.1f} s, "
        + (f"stopped by {result.stopped_by}" if result.stopped_by else "still unfinished")
    )


def _is_share(name: str) -> bool:
    return name.endswith("accuracy")
