"""Training on examples: sentences, sequences, images and documents, by the trainer of graphs."""

import json
import math
from itertools import product
from typing import Any

import pytest
import torch
from torch import nn

from gat.data import Examples, ExampleTask, Ragged, card, load_examples
from gat.data.vocabulary import Vocabulary
from gat.errors import CheckpointMismatchError, ConfigError, InputError
from gat.train import (
    ExamplesConfig,
    Terminated,
    TrainConfig,
    evaluate,
    load_config,
    recipe_for,
    train,
)
from gat.train.example_session import ExampleSession
from gat.train.example_ways import longest_handled, way_for
from gat.train.kinds import config_for, load_task, nodes_only, read_config
from gat.train.results import SeedResult

LETTERS = Vocabulary("abcde")


def sentences(number: int) -> Examples:
    """To be copied without their last letter: unequal lengths, of one letter too; all differ."""
    pool = [letters for length in (1, 2, 3) for letters in product(range(3, 8), repeat=length)]
    order = torch.randperm(len(pool), generator=torch.Generator().manual_seed(0)).tolist()
    chosen = [pool[place] for place in order[12 * number : 12 * number + 12]]
    sources = [torch.tensor([*letters, 1]) for letters in chosen]
    targets = [torch.tensor([*letters[:-1], 1]) for letters in chosen]
    return Examples(Ragged.of(sources), Ragged.of(targets))


def translation() -> ExampleTask:
    parts = {part: sentences(number) for number, part in enumerate(("train", "val", "test"))}
    return ExampleTask(
        "copy",
        "translation",
        parts,
        "sequence-accuracy",
        source_vocabulary=LETTERS,
        target_vocabulary=LETTERS,
    )


def sequences(steps: bool) -> ExampleTask:
    def part(seed: int) -> Examples:
        draw = torch.Generator().manual_seed(seed)
        y = torch.randint(0, 2, (10,), generator=draw)
        tokens = torch.randint(3, 8, (10, 6), generator=draw)
        tokens[:, 0] = 3 + y
        inputs = tokens if not steps else torch.nn.functional.one_hot(tokens, 8).float()
        return Examples(inputs, y)

    parts = {name: part(seed) for seed, name in enumerate(("train", "val", "test"))}
    vocabulary = None if steps else LETTERS
    kind = "sequence classification"
    return ExampleTask("first", kind, parts, num_classes=2, source_vocabulary=vocabulary)


def documents() -> ExampleTask:
    def part(seed: int) -> Examples:
        draw = torch.Generator().manual_seed(seed)
        written = []
        for _ in range(6):
            counts = torch.randint(1, 4, (int(torch.randint(1, 4, (), generator=draw)),))
            words = torch.randint(3, 8, (int(counts.sum()),), generator=draw)
            written.append(Ragged(words, counts))
        return Examples(Ragged.of(written), torch.arange(6) % 3)

    torch.manual_seed(0)
    parts = {name: part(seed) for seed, name in enumerate(("train", "val", "test"))}
    kind = "document classification"
    return ExampleTask("papers", kind, parts, num_classes=3, source_vocabulary=LETTERS)


def images() -> ExampleTask:
    draw = torch.Generator().manual_seed(0)
    parts = {
        name: Examples(torch.rand((6, 1, 5, 4), generator=draw), torch.arange(6) % 2)
        for name in ("train", "val", "test")
    }
    return ExampleTask("spots", "image classification", parts, num_classes=2)


SMALL: dict[str, tuple[Any, dict[str, Any]]] = {
    "seq2seq": (translation, {"hidden_channels": 8, "embedding_channels": 4}),
    "transformer": (
        translation,
        {"channels": 8, "heads": 2, "encoder_layers": 1, "decoder_layers": 1, "feedforward": 8},
    ),
    "sequence-classifier": (lambda: sequences(False), {"hidden_channels": 8}),
    "document-classifier": (documents, {"channels": 8}),
    "attention-net": (images, {"widths": [4, 4, 4]}),
}


def config(name: str, **changes: Any) -> ExamplesConfig:
    options = {"name": name, **SMALL[name][1]}
    values = {"data": {"name": "toy"}, "model": options, "epochs": 3, "batch_size": 4, "seed": 1}
    if name in ("seq2seq", "transformer"):
        values["max_length"] = 8
    return ExamplesConfig(**{**values, "device": "cpu", **changes})


@pytest.mark.parametrize("name", SMALL)
def test_train_runs_and_evaluate_scores_the_kept_weights_again(name, tmp_path):
    task = SMALL[name][0]()
    result = train(config(name), tmp_path / "run", task=task)
    again = evaluate(tmp_path / "run", task=task)
    assert result.epochs == 3
    assert (result.train, result.val, result.test) == (again.train, again.val, again.test)
    assert result.measures == again.measures
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["test"] == result.test
    assert metrics["measures"] == result.measures


@pytest.mark.parametrize("name", SMALL)
def test_train_lowers_the_loss(name):
    losses: list[float] = []
    task = SMALL[name][0]()
    changed = config(name, epochs=25, optimizer={"lr": 0.01})
    train(changed, task=task, on_epoch=lambda record: losses.append(record.train_loss))
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize("name", SMALL)
def test_train_resumed_between_two_steps_is_the_uninterrupted_run(
    name, tmp_path, kept, terminate_in_step
):
    task = SMALL[name][0]()
    whole = train(config(name), tmp_path / "whole", task=task)
    terminate_in_step(4)
    with pytest.raises(Terminated):
        train(config(name), tmp_path / "run", task=task)
    resumed = train(None, tmp_path / "run", resume=True, task=task)
    assert kept(tmp_path / "run") == kept(tmp_path / "whole")
    for key, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[key]), key


@pytest.mark.parametrize("name", SMALL)
def test_train_without_a_test_part_scores_the_others(name, tmp_path):
    task = SMALL[name][0]()
    task.parts["test"] = task.parts["test"].select(torch.empty(0, dtype=torch.int64))
    result = train(config(name, epochs=1), tmp_path / "run", task=task)
    assert math.isnan(result.test)
    assert not math.isnan(result.train + result.val)
    assert result.measures == {}
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["test"] is None


@pytest.mark.parametrize("name", ["seq2seq", "document-classifier"])
def test_validation_loss_does_not_depend_on_the_batches(name):
    task, losses = SMALL[name][0](), []
    for size in (1, 5, 12):
        session = ExampleSession(config(name, batch_size=size), task, torch.device("cpu"))
        losses.append(session.validation().loss)
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-5)


def test_train_resumed_on_other_examples_is_refused(tmp_path):
    train(config("seq2seq"), tmp_path / "run", task=translation())
    other = translation()
    other.parts["train"].inputs.values[0] = 4
    with pytest.raises(CheckpointMismatchError, match="other data than 'copy'"):
        train(None, tmp_path / "run", resume=True, task=other)


def test_network_of_another_kind_is_refused_with_those_that_fit():
    with pytest.raises(ConfigError, match="copy is translation, for which there are 'seq2seq'"):
        train(config("attention-net"), task=translation())


def test_answers_longer_than_may_be_written_are_refused():
    train(config("seq2seq", max_length=3, epochs=1), task=translation())
    with pytest.raises(ConfigError, match="max_length is 2, and the longest answer of copy has 3"):
        train(config("seq2seq", max_length=2), task=translation())


def test_blocks_of_an_attention_net_have_strides_of_their_own():
    changed = {"name": "attention-net", "widths": [4, 6], "strides": [1, 1]}
    result = train(config("attention-net", model=changed, epochs=1), task=images())
    assert result.model.options["strides"] == [1, 1]


def test_network_that_cannot_be_made_is_a_config_error():
    changed = config("transformer", model={**SMALL["transformer"][1], "name": "transformer"})
    odd = changed.updated(**{"model.heads": 3})
    with pytest.raises(ConfigError, match="model: "):
        train(odd, task=translation())


def test_configuration_of_nodes_does_not_take_examples():
    with pytest.raises(InputError, match="the configuration is of nodes and copy is a task of"):
        train(TrainConfig(), task=translation())


def test_load_task_tells_a_configuration_of_another_kind():
    with pytest.raises(InputError, match=r"is of nodes and dates is a task of examples; \[model\]"):
        load_task(TrainConfig(data={"name": "dates"}).data)
    other = config("seq2seq", data={"name": "karate"})
    with pytest.raises(InputError, match="is of examples and karate is a task of nodes"):
        load_task(other.data)


def test_options_left_out_are_the_cards():
    data = config("seq2seq", data={"name": "recall", "options": {"length": 7}}).data
    assert data.options == {**card("recall").options, "length": 7}
    assert config("seq2seq").data.options == {}


def test_options_of_a_task_passed_are_noted_so_that_it_is_made_again(tmp_path):
    task = load_examples("recall", train=20, val=10, test=10, length=3)
    given = config("sequence-classifier", data={"name": "recall"}, epochs=1)
    result = train(given, tmp_path / "run", task=task)
    assert load_config(tmp_path / "run" / "config.toml").data.options == task.options
    assert evaluate(tmp_path / "run").test == result.test


def test_result_on_other_examples_is_not_kept_when_the_cards_options_change(monkeypatch):
    before = config("seq2seq", data={"name": "dates"})
    scores = {"train": 1.0, "val": 1.0, "test": 1.0, "best_epoch": 1, "epochs": 1, "seconds": 1.0}
    result = SeedResult(
        "dates/x", 1, 0, "sequence-accuracy", **scores, config=before.to_dict(), versions={},
        machine={},
    )  # fmt: skip
    assert result.stands_for(config("seq2seq", data={"name": "dates"}), {})
    changed = card("dates").model_copy(update={"options": {**card("dates").options, "seed": 5}})
    monkeypatch.setattr("gat.train.examples_config.cards", lambda: {"dates": changed})
    now = config("seq2seq", data={"name": "dates"})
    assert now.data.options["seed"] == 5
    assert not result.stands_for(now, {})


def test_examples_without_configuration_are_refused_with_the_next_step():
    with pytest.raises(InputError, match=r"copy is a task of examples.*recipe_for"):
        config_for(None, translation())


def test_nodes_only_names_what_was_given():
    with pytest.raises(InputError, match="toy is a data set of examples"):
        nodes_only(config("seq2seq"))


def test_read_config_tells_by_the_networks_name():
    assert isinstance(read_config({}), TrainConfig)
    assert isinstance(read_config({"model": {"num_layers": 3}}), TrainConfig)
    found = read_config(config("transformer").to_dict())
    assert found == config("transformer")


def test_unknown_network_and_unknown_option_name_the_known_ones():
    with pytest.raises(ConfigError, match=r"model\.name: expected 'seq2seq', .*, got 'perceptron'"):
        ExamplesConfig(data={"name": "dates"}, model={"name": "perceptron"})
    with pytest.raises(ConfigError, match=r"model\.atention: unknown key; did you mean attention"):
        ExamplesConfig(data={"name": "dates"}, model={"name": "seq2seq", "atention": "none"})
    with pytest.raises(ConfigError, match=r"model\.name: missing"):
        ExamplesConfig(data={"name": "dates"}, model={})
    for part in ("model", "data"):
        with pytest.raises(ConfigError, match=f"{part}: expected a table of settings, got 3"):
            config("seq2seq", **{part: 3})


@pytest.mark.parametrize(
    ("name", "option", "readers"),
    [
        ("seq2seq", "shift", "attention-net"),
        ("sequence-classifier", "max_length", "seq2seq and transformer"),
        ("attention-net", "beam_width", "seq2seq and transformer"),
    ],
)
def test_options_that_the_network_does_not_read_are_refused(name, option, readers):
    said = f"{option} is an option of {readers}; '{name}' has none"
    with pytest.raises(ConfigError, match=said):
        config(name, **{option: 2})


def test_windows_are_of_local_attention():
    model = {"name": "seq2seq", "window": 3}
    assert config("seq2seq", model=model | {"attention": "local-m"}).model.window == 3
    with pytest.raises(ConfigError, match="window is an option of local and local-m; 'bahd"):
        config("seq2seq", model=model)


def test_longest_handled_is_the_largest_length_up_to_which_most_are_right():
    sources = Ragged.of([torch.zeros(n, dtype=torch.int64) for n in (2, 2, 3, 5, 5, 7)])
    right = torch.tensor([True, False, True, True, True, False])
    # Up to 2: 1 of 2; up to 3: 2 of 3; up to 5: 4 of 5; up to 7: 4 of 6.
    assert longest_handled(sources, right) == 0
    assert longest_handled(sources, right, share=0.8) == 5
    assert longest_handled(sources, right, share=0.6) == 7
    assert longest_handled(sources, torch.ones(6, dtype=torch.bool)) == 7
    assert longest_handled(sources, torch.zeros(6, dtype=torch.bool)) == 0


def test_shift_moves_each_image_by_whole_pixels_and_zeros_come_in():
    task = images()
    way = way_for(config("attention-net", shift=2), task)
    batch = task.parts["train"]
    torch.manual_seed(0)
    changed = way.changed(batch).inputs
    places = [(top, left) for top in range(-2, 3) for left in range(-2, 3)]
    seen = set()
    for before, after in zip(batch.inputs[:, 0], changed[:, 0], strict=True):
        fitting = [place for place in places if torch.equal(moved(before, *place), after)]
        assert len(fitting) == 1
        seen |= set(fitting)
    assert len(seen) > 1
    assert way_for(config("attention-net"), task).changed(batch) is batch


def moved(image: torch.Tensor, down: int, right: int) -> torch.Tensor:
    height, width = image.shape
    out = torch.zeros_like(image)
    for y in range(height):
        for x in range(width):
            if 0 <= y + down < height and 0 <= x + right < width:
                out[y + down, x + right] = image[y, x]
    return out


@pytest.mark.parametrize("name", SMALL)
def test_a_run_in_bfloat16_is_scored_in_it(name, tmp_path):
    task, seen = SMALL[name][0](), []
    changed = config(name, epochs=1, precision="bfloat16")
    result = train(changed, tmp_path / "run", task=task)
    note = nn.modules.module.register_module_forward_hook(
        lambda *_: seen.append(torch.is_autocast_enabled("cpu"))
    )
    with note:
        again = evaluate(tmp_path / "run", task=task)
    assert seen
    assert all(seen)
    assert again.test == result.test


def test_another_data_set_and_another_network_come_with_their_own_options():
    dates = recipe_for("dates").updated(**{"data.options.train": 100})
    assert dates.data.options["train"] == 100
    assert dates.updated(seed=3).data.options == dates.data.options
    numbers = dates.updated(**{"data.name": "numbers", "data.options.test": 10})
    assert numbers.data.options == card("numbers").options | {"test": 10}
    written = dates.updated(**{"model.name": "transformer", "model.channels": 8})
    assert written.model.name == "transformer"
    assert written.model.channels == 8


def test_shifts_leave_something_of_each_image():
    with pytest.raises(ConfigError, match=r"shift is 3, and images of spots are 5 x 4: .* most 2"):
        train(config("attention-net", shift=3), task=images())
    train(config("attention-net", shift=2, epochs=1), task=images())


def test_a_run_that_is_refused_leaves_no_folder(tmp_path):
    with pytest.raises(ConfigError, match="max_length is 2, and the longest answer"):
        train(config("seq2seq", max_length=2), tmp_path / "run", task=translation())
    assert not (tmp_path / "run").exists()
    # One that was there is not ours to remove.
    (tmp_path / "run").mkdir()
    with pytest.raises(ConfigError, match="max_length is 2"):
        train(config("seq2seq", max_length=2), tmp_path / "run", task=translation())
    assert (tmp_path / "run").exists()
