"""Examples, ExampleTask and load_examples: their parts, their descriptions, and every refusal."""

import pytest
import torch

from gat.data import Examples, ExampleTask, Ragged, Vocabulary, card, load, load_examples
from gat.data.examples import END, KINDS
from gat.data.loading import load_card
from gat.errors import ArgumentTypeError, IndexRangeError, InputError


def test_examples_select_takes_inputs_and_targets_together():
    rows = Ragged.of([torch.tensor([3, 4]), torch.tensor([5]), torch.tensor([6, 7, 8])])
    part = Examples(rows, torch.tensor([7, 8, 9]))
    picked = part.select(torch.tensor([2, 2, 0]))
    assert len(picked) == 3
    assert [row.tolist() for row in picked.inputs] == [[6, 7, 8], [6, 7, 8], [3, 4]]
    assert picked.targets.tolist() == [9, 9, 7]
    assert part.to("meta").targets.device.type == "meta"


def test_examples_are_shown_by_their_sizes():
    part = Examples(Ragged.of([torch.tensor([3, 4]), torch.tensor([5])]), torch.tensor([7, 8]))
    assert repr(part) == (
        "Examples(inputs=Ragged(2 rows of torch.int64 [3], longest 2), targets=torch.int64 [2])"
    )


def test_examples_refuse_inputs_without_targets():
    with pytest.raises(InputError, match="3 inputs and 2 targets"):
        Examples(torch.rand(3, 2), torch.tensor([0, 1]))
    with pytest.raises(ArgumentTypeError, match="targets must be a Tensor"):
        Examples(torch.rand(2, 2), [0, 1])
    with pytest.raises(IndexRangeError, match="no row 2"):
        Examples(torch.rand(2, 2), torch.tensor([0, 1])).select(torch.tensor([2]))


SOURCE, TARGET = Vocabulary("abc"), Vocabulary("xy")


def pairs(*texts: str) -> Examples:
    """Translations such as "ab:xy"."""
    split = [text.split(":") for text in texts]
    return Examples(
        Ragged.of([SOURCE.encode(one) for one, _ in split]),
        Ragged.of([TARGET.encode(two) for _, two in split]),
    )


def translation(**changes) -> ExampleTask:
    parts = {"train": pairs("a:x", "bca:yx"), "val": pairs("b:y"), "test": pairs("c:xy", "cc:x")}
    usual = {
        "name": "made-up",
        "kind": "translation",
        "metric": "sequence-accuracy",
        "source_vocabulary": SOURCE,
        "target_vocabulary": TARGET,
    }
    parts |= changes.pop("parts", {})
    return ExampleTask(parts=parts, **(usual | changes))


def images(count: int, *classes: int) -> Examples:
    return Examples(torch.rand(count, 1, 2, 3), torch.tensor(classes, dtype=torch.int64))


def classification(**changes) -> ExampleTask:
    parts = {"train": images(2, 0, 1), "val": images(1, 1), "test": images(3, 0, 0, 1)}
    parts |= changes.pop("parts", {})
    usual = {"name": "made-up", "kind": "image classification", "num_classes": 2}
    return ExampleTask(parts=parts, **(usual | changes))


@pytest.mark.parametrize("make", [translation, classification])
def test_validate_passes_a_sound_task_and_returns_it(make):
    task = make()
    assert task.validate() is task
    assert (task.train, task.val, task.test) == tuple(task.parts.values())
    moved = task.to("meta")
    assert {tensor.device.type for _, tensor in moved.tensors()} == {"meta"}
    assert moved.name == task.name


def test_validate_permits_an_empty_test_part():
    classification(parts={"test": images(0)}).validate()


def test_tensors_are_named_in_a_fixed_order():
    expected = [
        f"{part}.{side}.{what}"
        for part in ("train", "val", "test")
        for side in ("inputs", "targets")
        for what in ("values", "lengths")
    ]
    task = translation()
    assert [name for name, _ in task.tensors()] == expected
    shuffled = translation()
    shuffled.parts = dict(reversed(shuffled.parts.items()))
    again = ExampleTask("made-up", "translation", shuffled.parts)
    assert [name for name, _ in again.tensors()] == expected
    assert dict(task.tensors())["val.targets.values"] is task.val.targets.values
    sides = Examples(Ragged.of([pairs("a:x").inputs]), torch.tensor([0]))
    parts = dict.fromkeys(("train", "val", "test"), sides)
    names = [name for name, _ in ExampleTask("x", "document classification", parts).tensors()]
    assert names[:4] == [
        "train.inputs.values.values",
        "train.inputs.values.lengths",
        "train.inputs.lengths",
        "train.targets",
    ]


def test_describe_tells_names_and_numbers():
    assert translation().describe() == {
        "name": "made-up",
        "kind": "translation",
        "train/val/test": "2/1/2",
        "source vocabulary": 6,
        "target vocabulary": 5,
        "length of inputs, mean/longest": "2.6/4",
        "length of targets, mean/longest": "2.4/3",
        "metric": "sequence-accuracy",
    }
    assert classification().describe() == {
        "name": "made-up",
        "kind": "image classification",
        "train/val/test": "2/1/3",
        "classes": 2,
        "shape of inputs": "1 x 2 x 3",
        "metric": "accuracy",
    }


def ends(*tokens: int) -> Ragged:
    return Ragged.of([torch.tensor(tokens)])


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"metric": "accuracy"}, InputError, "metric of translation is sequence-accuracy"),
        ({"source_vocabulary": None}, InputError, "needs a source_vocabulary"),
        ({"target_vocabulary": None}, InputError, "needs a target_vocabulary"),
        ({"parts": {"val": pairs()}}, InputError, "made-up, val: there is no example"),
        (
            {"parts": {"val": Examples(ends(3), ends(3, END))}},
            InputError,
            r"val: input 0 must have the token END \(1\) as its last",
        ),
        (
            {"parts": {"test": Examples(ends(3, END), ends(END, 3, END))}},
            InputError,
            r"test: target 0 must have the token END .* nowhere else",
        ),
        (
            {"parts": {"val": Examples(ends(3, 6, END), ends(END))}},
            IndexRangeError,
            "val: input 0 has token 6; expected 0 to 5",
        ),
        (
            {"parts": {"val": Examples(ends(3, END), ends(-1, END))}},
            IndexRangeError,
            "val: target 0 has token -1; expected 0 to 4",
        ),
        (
            {"parts": {"val": Examples(ends(3, END), Ragged.of([torch.arange(0)]))}},
            InputError,
            "val: target 0 is empty",
        ),
        (
            {"parts": {"val": Examples(ends(3, END), torch.tensor([0]))}},
            ArgumentTypeError,
            "targets of a translation must be Ragged",
        ),
        (
            {"parts": {"test": pairs("b:x", "c:x", "bca:x")}},
            InputError,
            "input 2 of test is input 1 of train too",
        ),
        (
            {"parts": {"test": pairs("c:x", "b:x")}},
            InputError,
            "input 1 of test is input 0 of val too.*allow_overlap=True",
        ),
    ],
)
def test_validate_refuses_a_faulty_translation(changes, error, says):
    with pytest.raises(error, match=says):
        translation(**changes).validate()


def test_validate_permits_an_overlap_that_is_meant():
    translation(parts={"test": pairs("a:x")}).validate(allow_overlap=True)


def broken(value: float) -> Examples:
    part = images(2, 0, 1)
    part.inputs[1, 0, 1, 2] = value
    return part


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"metric": "sequence-accuracy"}, InputError, "metric of image classification is accuracy"),
        ({"num_classes": None}, InputError, "needs num_classes of 2 or more, got None"),
        ({"num_classes": 1}, InputError, "needs num_classes of 2 or more, got 1"),
        ({"class_names": ("cat",)}, InputError, "class_names has 1 names for 2 classes"),
        ({"parts": {"val": images(2, 0, 2)}}, IndexRangeError, "target 1 has class 2; .* 0 to 1"),
        ({"parts": {"test": broken(float("nan"))}}, InputError, "test: input 1 has .* not finite"),
        ({"parts": {"test": broken(float("inf"))}}, InputError, "test: input 1 has .* not finite"),
        (
            {"parts": {"val": Examples(torch.rand(1, 2, 3), torch.tensor([0]))}},
            InputError,
            r"inputs are torch.float32 \[n, 2, 3\], those of train are torch.float32 \[n, 1, 2, 3",
        ),
        (
            {"parts": {"val": Examples(torch.rand(1, 1, 2, 3), torch.tensor([0.0]))}},
            ArgumentTypeError,
            "val: targets must be int64, got torch.float32",
        ),
        (
            {"parts": {"val": Examples(torch.rand(1, 1, 2, 3), torch.tensor([[0]]))}},
            ArgumentTypeError,
            "targets must be int64 .n., one class each",
        ),
    ],
)
def test_validate_refuses_a_faulty_classification(changes, error, says):
    with pytest.raises(error, match=says):
        classification(**changes).validate()


def test_validate_wants_a_vocabulary_for_tokens():
    part = Examples(torch.tensor([[3, 4], [5, 3]]), torch.tensor([0, 1]))
    parts = {"train": part, "val": part, "test": part}
    task = ExampleTask("tokens", "sequence classification", parts, num_classes=2)
    with pytest.raises(ArgumentTypeError, match="int64 tokens and a source_vocabulary"):
        task.validate()
    task.source_vocabulary = SOURCE
    task.validate(allow_overlap=True)
    with pytest.raises(InputError, match="input 0 of val is input 0 of train too"):
        task.validate()


def test_validate_names_the_document_of_a_bad_word_or_an_empty_sentence():
    words = [Ragged.of([torch.tensor([3]), torch.tensor([4, 5])]), Ragged.of([torch.tensor([9])])]
    part = Examples(Ragged.of(words), torch.tensor([0, 1]))
    parts = dict.fromkeys(("train", "val", "test"), part)
    task = ExampleTask(
        "d", "document classification", parts, num_classes=2, source_vocabulary=SOURCE
    )
    with pytest.raises(IndexRangeError, match="train: input 1 has token 9; expected 0 to 5"):
        task.validate()
    empty = Examples(Ragged.of([Ragged.of([torch.arange(0)]), words[0]]), torch.tensor([0, 1]))
    task.parts["train"] = empty
    with pytest.raises(InputError, match="train: input row 0 is empty"):
        task.validate()


def test_example_task_refuses_unknown_kinds_and_parts():
    with pytest.raises(InputError, match="kind 'poetry' is unknown; known are translation, "):
        translation(kind="poetry")
    with pytest.raises(InputError, match="kind 'node classification' is unknown"):
        translation(kind="node classification")
    with pytest.raises(InputError, match="expected the parts train, val and test, got train"):
        ExampleTask("x", "translation", {"train": pairs("a:x")})
    assert len(KINDS) == 4


def test_load_examples_of_a_graph_names_load_and_the_other_way_round():
    with pytest.raises(InputError, match=r"karate is a graph .* gat\.data\.load\('karate'\)"):
        load_examples("karate")
    says = r"made of examples for translation.*gat\.data\.load_examples\('dates'\)"
    with pytest.raises(InputError, match=says):
        load("dates")
    with pytest.raises(InputError, match=says):
        load_card(card("dates"))


def test_load_examples_takes_options_of_the_card_and_no_others():
    task = load_examples("Recall", length=5, train=16, val=8, test=9)
    assert task.card is card("recall")
    assert [len(part) for part in task.parts.values()] == [16, 8, 9]
    assert task.train.inputs.shape == (16, 7)
    with pytest.raises(InputError, match=r"no option 'steps'; its options are train, .*length"):
        load_examples("recall", steps=5)
    with pytest.raises(InputError, match="no data set 'recal'; did you mean recall"):
        load_examples("recal")
