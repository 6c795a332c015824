"""TrainConfig: what it refuses, in which words, and what survives a file."""

import inspect
import json
import math
import tomllib
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gat.data import from_files
from gat.errors import ConfigError, InputError
from gat.models import gat as models_gat
from gat.train import (
    DataConfig,
    FilesConfig,
    ModelConfig,
    TrainConfig,
    dump_toml,
    load_config,
    save_config,
    train,
)
from gat.train import trainer as trainer_module

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "unknown key": ({"optimizer": {"lrr": 0.1}}, "optimizer.lrr: unknown key; did you mean lr?"),
    "unknown table": ({"modle": {}}, "modle: unknown key; did you mean model?"),
    "lists known keys": (
        {"stopping": {"pattern": 1}},
        "known keys: monitor, name, patience",
    ),
    "negative lr": ({"optimizer": {"lr": -1.0}}, "optimizer.lr: expected greater than 0, got -1.0"),
    "zero lr": ({"optimizer": {"lr": 0}}, "optimizer.lr: expected greater than 0, got 0"),
    "infinite lr": ({"optimizer": {"lr": math.inf}}, "optimizer.lr: expected a finite number"),
    "dropout 1.5": (
        {"model": {"feature_dropout": 1.5}},
        "model.feature_dropout: expected less than 1, got 1.5",
    ),
    "dropout 1": (
        {"model": {"value_dropout": 1.0}},
        "model.value_dropout: expected less than 1, got 1.0",
    ),
    "no heads": ({"model": {"heads": 0}}, "model.heads: expected a number >= 1, or a list of such"),
    "no heads in a layer": ({"model": {"heads": [8, 0]}}, "model.heads: expected a number >= 1"),
    "empty heads": ({"model": {"heads": []}}, "model.heads: expected a number >= 1"),
    "text for a number": (
        {"optimizer": {"lr": "0.1"}},
        "optimizer.lr: expected a valid number, got '0.1'",
    ),
    "true for a number": ({"epochs": True}, "epochs: expected a valid integer, got True"),
    "value for a table": ({"model": 3}, "model: expected a table of settings, got 3"),
    "a hop too few": (
        {"sampling": {"name": "neighbor", "num_neighbors": [15, 10]}, "model": {"num_layers": 3}},
        "sampling.num_neighbors has 2 numbers, [15, 10], and model.num_layers is 3; expected one "
        "for each attention layer",
    ),
    "fewer than no neighbours": (
        {"sampling": {"name": "neighbor", "num_neighbors": [5, -2]}},
        "sampling.num_neighbors: expected a number from -1 (all) up, or a list of such",
    ),
    "keys of another way of sampling": (
        {"sampling": {"name": "cluster", "batch_size": 10, "roots": 3}},
        "sampling by 'cluster' reads name, num_parts, clusters_per_batch, prefetch, evaluation, "
        "inference_memory, inference_batch_size; leave out batch_size, roots, "
        'or set the whole table: sampling = {name = "cluster"}',
    ),
    "keys of sampling without it": (
        {"sampling": {"prefetch": 0}},
        "sampling by 'none' reads name; leave out prefetch, or set the whole table: ",
    ),
    "more clusters than there are": (
        {"sampling": {"name": "cluster", "clusters_per_batch": 11}},
        "clusters_per_batch is 11, more than the num_parts = 10 there are",
    ),
    "sampled and sparse": (
        {"sampling": {"name": "neighbor"}, "data": {"features": "sparse"}},
        'a sampled batch has dense rows: set data.features to "auto"',
    ),
    "unknown name": (
        {"stopping": {"name": "late"}},
        "stopping.name: expected 'official-gat', 'best-val-accuracy', 'best-val-loss' or 'none', "
        "got 'late'",
    ),
    "unknown device": ({"device": "tpu"}, "device: expected 'auto', 'cpu', 'cuda' or 'cuda:N'"),
    "clip without value": ({"clip": {"name": "value"}}, "clipping by 'value' takes value, got"),
    "clip with another's value": (
        {"clip": {"name": "norm", "value": 1.0}},
        "clip: clipping by 'norm' takes norm, got value",
    ),
    "crossed bounds": (
        {"clip": {"name": "bounds", "bounds": {"*": [1, -1]}}},
        "clip: bounds of '*': low must be below high, got (1.0, -1.0)",
    ),
    "monitor of another rule": (
        {"stopping": {"name": "none", "monitor": "loss"}},
        "stopping: monitor is an option of official-gat; 'none' has none",
    ),
    "option of another optimiser": (
        {"optimizer": {"name": "adamw", "momentum": 0.9}},
        "optimizer: momentum is an option of rmsprop; 'adamw' has none",
    ),
    "betas of RMSprop": (
        {"optimizer": {"name": "rmsprop", "betas": (0.5, 0.9)}},
        "optimizer: betas is an option of adam and adamw; 'rmsprop' has none",
    ),
    "option of another schedule": (
        {"schedule": {"name": "cosine", "factor": 0.1}},
        "schedule: factor is an option of plateau; 'cosine' has none",
    ),
    "warm-up too long": (
        {"epochs": 5, "schedule": {"warmup_epochs": 5}},
        "schedule.warmup_epochs must be below epochs (5), got 5",
    ),
    "nodes without edges": ({"data": {"nodes": "n.csv"}}, "data: nodes and label describe"),
    "negative split": ({"data": {"split": -1}}, "data.split: expected greater than or equal to 0"),
}


@pytest.mark.parametrize(("values", "sentence"), REFUSED.values(), ids=REFUSED.keys())
def test_config_refuses_and_says_why(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        TrainConfig(**values)
    assert sentence in str(refusal.value)
    assert refusal.value.exit_code == 2


def test_config_names_every_problem_at_once() -> None:
    with pytest.raises(ConfigError) as refusal:
        TrainConfig(seed=-1, model={"num_layers": 0, "nrom": "batch"})
    text = str(refusal.value)
    assert "seed: " in text
    assert "model.num_layers: " in text
    assert "model.nrom: unknown key; did you mean norm?" in text


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"model": {"heads": [8, 8, 8]}}, "model: heads is [8, 8, 8]"),
        ({"clip": {"name": "bounds", "bounds": {"nothing*": [-1, 1]}}}, "no parameter matches"),
    ],
    ids=["heads per layer", "clip pattern"],
)
def test_train_refuses_before_data_is_read(
    changes: dict[str, Any], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer_module, "load_task", lambda data: pytest.fail("data was read"))
    with pytest.raises(ConfigError) as refusal:
        train(TrainConfig(**changes))
    assert sentence in str(refusal.value)


def test_model_config_has_the_models_options() -> None:
    options = inspect.signature(models_gat.GAT).parameters.values()
    ours = {name: field.default for name, field in ModelConfig.model_fields.items()}
    theirs = {o.name: o.default for o in options if o.kind is o.KEYWORD_ONLY}
    # No data set has edge features yet, so a run cannot ask for them.
    assert theirs.pop("edge_dim") is None
    assert ours == theirs


def test_files_config_has_the_readers_options() -> None:
    options = inspect.signature(from_files).parameters.values()
    theirs = {o.name: o.default for o in options if o.kind is o.KEYWORD_ONLY}
    # The checks are options of any data, one level up.
    ours = {**FilesConfig().model_dump(), "name": None}
    ours |= DataConfig().model_dump(include={"allow_overlap", "check_finite"})
    assert {k: tuple(v) if isinstance(v, list) else v for k, v in ours.items()} == theirs


@pytest.mark.parametrize(
    ("field", "known"),
    [
        ("attention", models_gat.ATTENTIONS),
        ("activation", models_gat.ACTIVATIONS),
        ("norm", models_gat.NORMS),
        ("residual", models_gat.RESIDUALS),
        ("jumping_knowledge", models_gat.JUMPS),
    ],
)
def test_model_config_has_the_models_choices(field: str, known: Any) -> None:
    assert set(get_args(ModelConfig.model_fields[field].annotation)) == set(known)


def test_sparse_features_need_float32() -> None:
    with pytest.raises(ConfigError, match=r'data\.features = "sparse" needs precision = "float32"'):
        TrainConfig(data={"features": "sparse"}, precision="bfloat16")


def test_updated_changes_and_checks() -> None:
    config = TrainConfig().updated(seed=3, **{"data.split": 1})
    assert (config.seed, config.data.split, config.epochs) == (3, 1, TrainConfig().epochs)
    with pytest.raises(ConfigError, match=r"data\.spilt: unknown key; did you mean split"):
        TrainConfig().updated(**{"data.spilt": 1})
    with pytest.raises(
        ConfigError, match=r"epochs\.deep: epochs is one value \(1000\), not a table"
    ):
        TrainConfig().updated(**{"epochs.deep": 1})


FULL = {
    "model": {"heads": [4, 4], "num_layers": 3, "residual": "linear"},
    "optimizer": {"name": "adamw", "betas": [0.8, 0.99]},
    "clip": {"name": "bounds", "bounds": {"convs.*.weight": [-0.1, 0.5], "*": [-1, 2]}},
    "data": {"name": 'odd "name"\n\\ü'},
}


@pytest.mark.parametrize("ending", ["toml", "json"])
def test_config_survives_a_file(ending: str, tmp_path: Path) -> None:
    config = TrainConfig(**FULL)
    save_config(config, tmp_path / f"c.{ending}")
    assert load_config(tmp_path / f"c.{ending}") == config


def test_load_config_names_file_and_key(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("[optimizer]\nlr = -1\n")
    with pytest.raises(ConfigError, match=r"mine\.toml: .*optimizer\.lr: expected greater than 0"):
        load_config(path)
    path.write_text("[optimizer\n")
    with pytest.raises(ConfigError, match=r"mine\.toml: not valid TOML: .*line 1"):
        load_config(path)
    with pytest.raises(InputError, match=r"none\.toml: the configuration cannot be read"):
        load_config(tmp_path / "none.toml")
    (tmp_path / "list.json").write_text(json.dumps([1]))
    with pytest.raises(ConfigError, match=r"list\.json: expected a table of settings, got list"):
        load_config(tmp_path / "list.json")


SCALARS = st.booleans() | st.integers(-(2**62), 2**62) | st.floats(allow_nan=False) | st.text()
TABLES = st.recursive(
    st.dictionaries(st.text(), SCALARS | st.lists(SCALARS)),
    lambda inner: st.dictionaries(st.text(), SCALARS | inner),
    max_leaves=8,
)


@given(TABLES)
def test_dump_toml_is_read_back(values: dict[str, Any]) -> None:
    assert tomllib.loads(dump_toml(values)) == values
