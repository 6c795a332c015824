"""NodeTask.validate: faults 15 and 17 to 20, each with the sentence a user reads."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gat.data import NodeTask, TaskGraph, normalize_features
from gat.errors import ArgumentTypeError, IndexRangeError, InputError


def column(*values: int) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.bool)[:, None]


def test_validate_passes_a_sound_task_and_returns_it(a_task):
    task = a_task()
    assert task.validate() is task


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_validate_refuses_features_that_are_not_finite(a_task, value):
    x = torch.rand(6, 3)
    x[4, 1] = value
    with pytest.raises(InputError, match=r"ring: feature 1 of node 4 is .*check_finite=False"):
        a_task(x=x).validate()
    a_task(x=x).validate(check_finite=False)


@pytest.mark.parametrize("part", ["train", "val"])
def test_validate_refuses_an_empty_part(a_task, part):
    empty = {f"{part}_mask": column(0, 0, 0, 0, 0, 0)}
    with pytest.raises(ValueError, match=f"the {part} mask of split 0 is empty"):
        a_task(**empty).validate()


def test_validate_permits_an_empty_test_part(a_task):
    a_task(test_mask=column(0, 0, 0, 0, 0, 0)).validate()


@pytest.mark.parametrize(
    ("mask", "says"),
    [
        (
            {"test_mask": column(0, 1, 0, 0, 1, 1)},
            "node 1 of split 0 both in the train and .*test",
        ),
        ({"test_mask": column(0, 0, 1, 1, 1, 1)}, "nodes 2, 3 of split 0 both in the val and"),
        ({"val_mask": column(1, 0, 1, 1, 0, 0)}, "node 0 of split 0 both in the train and .* val"),
    ],
)
def test_validate_refuses_a_leak_unless_it_is_meant(a_task, mask, says):
    with pytest.raises(InputError, match=f"{says}.*allow_overlap=True"):
        a_task(**mask).validate()
    a_task(**mask).validate(allow_overlap=True)


@pytest.mark.parametrize("label", [2, -2, 99])
def test_validate_refuses_a_label_outside_its_classes(a_task, label):
    y = torch.tensor([0, 1, 0, label, 0, 1])
    with pytest.raises(InputError, match=rf"label of node 3 is {label}; labels are 0 to 1, or -1"):
        a_task(y=y).validate()


def test_validate_refuses_nan_labels_with_the_first_five_nodes(a_task):
    y = torch.full((6,), float("nan"))
    with pytest.raises(InputError, match=r"nodes 0, 1, 2, 3, 4, \.\.\. \(6 in all\) is NaN"):
        a_task(y=y).validate()


def test_validate_refuses_float_labels(a_task):
    with pytest.raises(ArgumentTypeError, match="y must be int64"):
        a_task(y=torch.rand(6)).validate()


def test_validate_refuses_an_unlabelled_node_in_a_mask(a_task):
    y = torch.tensor([0, -1, 0, 1, 0, 1])
    with pytest.raises(InputError, match="node 1 in a train, val or test mask without a label"):
        a_task(y=y).validate()
    a_task(y=y, train_mask=column(1, 0, 0, 0, 0, 0)).validate()


@pytest.mark.parametrize(
    ("field", "rows"), [("y", 5), ("train_mask", 7), ("val_mask", 5), ("test_mask", 1)]
)
def test_validate_refuses_other_numbers_of_rows(a_task, field, rows):
    tensor = torch.zeros(rows, dtype=torch.int64)
    if field != "y":
        tensor = tensor[:, None].bool()
    with pytest.raises(ValueError, match=f"{field} has {rows} rows, x has 6"):
        a_task(**{field: tensor}).validate()


def test_validate_refuses_masks_of_one_dimension(a_task):
    with pytest.raises(InputError, match=r"val_mask must be bool of shape \[6, 1\]"):
        a_task(val_mask=column(0, 0, 1, 1, 0, 0)[:, 0]).validate()


@pytest.mark.parametrize(
    ("edges", "error", "says"),
    [
        (torch.tensor([[0, 6], [1, 2]]), IndexRangeError, "edge 1 names node 6; .* 0 to 5"),
        (torch.tensor([[0], [-1]]), IndexRangeError, "edge 0 names node -1"),
        (torch.rand(2, 3), ArgumentTypeError, "must be int64, it is torch.float32"),
        (torch.zeros(3, 2, dtype=torch.int64), InputError, r"must have shape \[2, E\]"),
    ],
)
def test_validate_refuses_impossible_edges(a_task, edges, error, says):
    with pytest.raises(error, match=says):
        a_task(edge_index=edges).validate()


def test_validate_of_many_labels(a_task):
    y = torch.randint(0, 2, (6, 4)).float()
    a_task(num_classes=4, multilabel=True, metric="micro-f1", y=y).validate()
    y[2, 3] = 0.5
    with pytest.raises(InputError, match=r"label 3 of node 2 is 0\.5"):
        a_task(num_classes=4, multilabel=True, y=y).validate()
    y[2, 3] = float("nan")
    with pytest.raises(InputError, match=r"node 2 in a train.*NaN label"):
        a_task(num_classes=4, multilabel=True, y=y).validate()


def test_validate_refuses_a_graph_in_two_parts_of_an_inductive_task(a_task):
    graph = a_task().graphs[0]
    with pytest.raises(InputError, match=r"ring, graph 0: .*wholly in one"):
        NodeTask("ring", (graph, graph), 2).validate()


def test_validate_passes_an_inductive_task():
    graphs = []
    for part in range(3):
        masks = [torch.full((2, 1), part == which) for which in range(3)]
        graphs.append(
            TaskGraph(
                torch.tensor([[0, 1], [1, 0]]), torch.rand(2, 3), torch.tensor([0, 1]), *masks
            )
        )
    task = NodeTask("three", tuple(graphs), 2).validate()
    assert task.inductive
    assert task.part_sizes() == {"train": 2, "val": 2, "test": 2}


def test_validate_refuses_roc_auc_of_three_classes(a_task):
    with pytest.raises(InputError, match="'roc-auc' needs two classes"):
        a_task(num_classes=3, metric="roc-auc").validate()


def test_task_refuses_an_unknown_metric(a_task):
    with pytest.raises(InputError, match="known are accuracy, micro-f1, roc-auc"):
        a_task(metric="f1")


def test_task_describes_itself(a_task):
    said = a_task().describe()
    assert said["nodes"] == 6
    assert said["train/val/test"] == "2/2/2"


def two_splits(*rows: tuple[int, int]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.bool)


def test_task_describes_the_split_asked_for(a_task):
    task = a_task(
        train_mask=two_splits((1, 1), (1, 0), (0, 0), (0, 0), (0, 0), (0, 0)),
        val_mask=two_splits((0, 0), (0, 1), (1, 1), (1, 1), (0, 0), (0, 0)),
        test_mask=two_splits((0, 0), (0, 0), (0, 0), (0, 0), (1, 1), (1, 0)),
    )
    assert task.describe()["train/val/test"] == "2/2/2"
    assert task.describe(split=1)["train/val/test"] == "1/3/1"


@pytest.mark.parametrize("split", [1, -1])
def test_task_refuses_a_split_it_does_not_have(a_task, split):
    for ask in (a_task().describe, a_task().part_sizes):
        with pytest.raises(
            InputError, match=rf"ring has no split {split}; it has 1, counted from 0"
        ):
            ask(split)


def test_validate_names_the_settings_of_the_command_line_too(a_task):
    with pytest.raises(
        InputError, match=r"check_finite=False \(on .*: --set data\.check_finite=false\)"
    ):
        a_task(x=torch.full((6, 3), float("nan"))).validate()
    with pytest.raises(
        InputError, match=r"allow_overlap=True \(on .*: --set data\.allow_overlap=true\)"
    ):
        a_task(test_mask=column(0, 1, 0, 0, 1, 1)).validate()


# No deadline: the first sum of a process can take long.
@settings(deadline=None)
@given(st.lists(st.lists(st.integers(0, 9), min_size=3, max_size=3), min_size=1, max_size=8))
def test_normalize_features_sums_rows_to_one_and_leaves_zero_rows(rows):
    x = torch.tensor(rows, dtype=torch.float32)
    total = normalize_features(x).sum(dim=1)
    expected = (x.sum(dim=1) > 0).float()
    torch.testing.assert_close(total, expected)


def test_normalize_features_of_an_unknown_mode():
    x = torch.rand(2, 2)
    assert normalize_features(x, "none") is x
    with pytest.raises(InputError, match="mode 'column' is unknown"):
        normalize_features(x, "column")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("attr", "sentence"),
    [
        (torch.zeros(3, 2), "edge_attr has 3 rows, edge_index has 2 edges"),
        (torch.zeros(2), r"edge_attr is of shape \[2\]; expected \[E, D\]"),
        (torch.zeros(2, 2, dtype=torch.int64), "edge_attr must be floating point"),
        (torch.tensor([[0.0, 1.0], [2.0, torch.nan]]), "feature 1 of edge 1 is nan"),
    ],
    ids=["rows", "dimensions", "dtype", "finite"],
)
def test_edge_features_are_checked(attr, sentence):
    mask = torch.tensor([[True], [False]])
    graph = TaskGraph(
        torch.tensor([[0, 1], [1, 0]]), torch.zeros(2, 3), torch.tensor([0, 1]),
        mask, ~mask, ~mask, edge_attr=attr,
    )  # fmt: skip
    with pytest.raises((ValueError, TypeError), match=sentence):
        NodeTask("pair", (graph,), 2).validate(allow_overlap=True)


def test_a_task_without_edge_features_shares_all_else(a_task):
    task = a_task(edge_attr=torch.rand(6, 2))
    assert task.edge_dim == 2
    graph = task.graphs[0].graph()
    plain = task.without_edge_features()
    assert plain.edge_dim is None
    assert task.edge_dim == 2
    assert plain.graphs[0].graph() is graph
    assert plain.graphs[0].x is task.graphs[0].x
    assert plain.validate() is plain
