"""What a run is of: nodes (:mod:`gat.train.config`) or examples (:mod:`gat.train.examples_config`).

The trainer, checkpoints and results know a `RunConfig`, a task and a `RunSession`; which of each
belong together stands here.
"""

from typing import Any

from gat.data import ExampleTask, NodeTask
from gat.errors import InputError
from gat.train.config import DataConfig, TrainConfig
from gat.train.examples_config import ExampleDataConfig, ExamplesConfig

__all__ = ["Config", "Task", "checked", "config_for", "load_task", "nodes_only", "read_config"]

Config = TrainConfig | ExamplesConfig
Task = NodeTask | ExampleTask


def read_config(values: dict[str, Any]) -> Config:
    """The configuration in ``values``: of examples where ``[model] name`` tells the network."""
    model = values.get("model")
    of_examples = isinstance(model, dict) and "name" in model
    return ExamplesConfig(**values) if of_examples else TrainConfig(**values)


def config_for(config: Config | None, task: Task) -> Config:
    """The configuration with the task's name, and what its examples were made with, noted in it; of
    nodes there is a default."""
    if config is None and isinstance(task, ExampleTask):
        raise InputError(
            f"{task.name} is a task of examples ({task.kind}), for which there is no default "
            f"network; pass an ExamplesConfig, such as recipe_for('dates')"
        )
    config = config or TrainConfig()
    _check_task(config, task)
    # A replica has another name than its card, by which it is read again.
    name = task.name if task.card is None else task.card.name
    options = {"data.options": task.options} if isinstance(task, ExampleTask) else {}
    return config.updated(**{"data.name": name}, **options)


def nodes_only(config: Config) -> TrainConfig:
    """The configuration, where it is one of nodes; else InputError."""
    if isinstance(config, TrainConfig):
        return config
    raise InputError(
        f"{config.data.name} is a data set of examples, and this is about graphs of nodes; name a "
        f"data set for node classification (gat datasets lists them)"
    )


def load_task(config: DataConfig | ExampleDataConfig) -> Any:
    """The data a configuration names: a NodeTask or an ExampleTask."""
    from gat import data

    if isinstance(config, ExampleDataConfig):
        _check_kinds(True, config.name, not data.card(config.name).is_graph)
        return data.load_examples(config.name, config.root, **config.options)
    if config.edges is not None:
        options = config.files.model_dump()
        options |= config.model_dump(include={"allow_overlap", "check_finite"})
        task = data.from_files(config.edges, config.nodes, config.label, **options)
    else:
        _check_kinds(False, config.name, not data.card(config.name).is_graph)
        task = data.load(config.name, config.root, download=config.download)
    return _as_wanted(task, config)


def checked(task: Any, config: Config) -> Any:
    """The task, validated as the configuration wants it."""
    _check_task(config, task)
    if isinstance(config, ExamplesConfig):
        return task.validate()
    options = config.data
    task.validate(allow_overlap=options.allow_overlap, check_finite=options.check_finite)
    return _as_wanted(task, options)


def _as_wanted(task: NodeTask, config: DataConfig) -> NodeTask:
    leaves_out = task.edge_dim is not None and not config.edge_features
    return task.without_edge_features() if leaves_out else task


def _check_task(config: Config, task: Task) -> None:
    of_examples = isinstance(config, ExamplesConfig)
    _check_kinds(of_examples, task.name, isinstance(task, ExampleTask))


def _check_kinds(of_examples: bool, name: str, made_of_examples: bool) -> None:
    """Refuse a configuration of nodes for a task of examples, and the reverse."""
    if of_examples is not made_of_examples:
        raise InputError(
            f"the configuration is of {'examples' if of_examples else 'nodes'} and {name} is a "
            f"task of {'nodes' if of_examples else 'examples'}; [model] name tells which: a "
            f"network of examples has one, a GAT on nodes none"
        )
