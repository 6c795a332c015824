"""What faithfulness returns: intervals that cover, words that claim no more, data for JSON."""

import json
import math

import numpy as np
import pytest
import torch
from scipy.stats import bootstrap

from gat.errors import InputError
from gat.inspection.fidelity import faithfulness
from gat.inspection.fidelity.inputs import Inputs
from gat.inspection.fidelity.orders import counts_of, kept, order, units
from gat.inspection.fidelity.results import Estimate
from gat.inspection.fidelity.statistics import Resampling
from gat.inspection.fidelity.verdicts import verdict
from tests.inspection.faithful_networks import Sum, by_value, sigmoid, star


def stars(count):
    """``count`` stars apart, with one edge that matters each, and their centres."""
    x, edges, centres = [], [], []
    for each in range(count):
        features, edge_index = star(0, 2 + 0.1 * each, 0, 0)
        centres.append(5 * each)
        x.append(features)
        edges.append(edge_index + 5 * each)
    return torch.cat(x), torch.cat(edges, 1), centres


def measured(count=12, scorer=by_value, **options):
    x, edges, centres = stars(count)
    return faithfulness(Sum(), x, edges, centres, ["random"], scorers={"own": scorer}, **options)


def test_intervals_are_scipys_percentiles():
    values = torch.randn(40, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    mean, low, high = Resampling(40, 20000, 0.9, seed=0).interval(values)
    theirs = bootstrap(
        (values.numpy(),),
        np.mean,
        n_resamples=20000,
        confidence_level=0.9,
        method="percentile",
        random_state=np.random.default_rng(0),
    ).confidence_interval
    assert float(mean) == pytest.approx(float(values.mean()))
    assert float(low) == pytest.approx(theirs.low, abs=0.01)
    assert float(high) == pytest.approx(theirs.high, abs=0.01)


def test_intervals_cover_the_mean_as_often_as_they_say():
    generator = torch.Generator().manual_seed(0)
    # 500 experiments of 50 nodes each; the true mean is 0.5.
    values = torch.rand(50, 500, generator=generator, dtype=torch.float64)
    _, low, high = Resampling(50, 1000, 0.9, seed=1).interval(values)
    covered = ((low < 0.5) & (high > 0.5)).double().mean()
    assert 0.85 < covered < 0.94


def test_intervals_of_one_node_are_no_numbers_and_of_equal_values_a_point():
    mean, low, high = Resampling(1, 10, 0.9, seed=0).interval(torch.tensor([2.0]))
    assert mean == 2
    assert math.isnan(low)
    assert math.isnan(high)
    assert Resampling(9, 10, 0.9, seed=0).interval(torch.ones(9, 2))[1].tolist() == pytest.approx(
        [1, 1]
    )


def test_the_seed_gives_the_intervals():
    ends = [measured(seed=seed)["random"].deletion for seed in (0, 0, 1)]
    assert ends[0].area_low == ends[1].area_low != ends[2].area_low


def test_a_perfect_scorer_beats_random_orders_node_by_node():
    found = measured(fractions=(0, 0.25, 0.5, 0.75, 1), top_k=(1,), draws=200)
    own = found["own"]
    # By hand: the four draws where the one edge comes k-th fall at the k-th quarter.
    drop = torch.tensor([sigmoid(2 + 0.1 * each) - 0.5 for each in range(12)]).double()
    expected = -(drop * 1.5 / 4).mean()
    assert own.against_random["deletion_area"].mean == pytest.approx(float(expected), abs=0.01)
    plus = own.against_random["fidelity_plus@1"]
    assert plus.mean == pytest.approx(float(drop.mean() * 0.75), abs=0.01)
    assert plus.low < plus.mean < plus.high
    assert plus.low > 0
    torch.testing.assert_close(
        plus.values, own.fidelity_plus[1].values - found["random"].fidelity_plus[1].values
    )
    assert own.verdict.startswith(
        "Removing first the edges that own ranks highest lowers the probability of the class more "
        "than removing random edges (difference in area under the deletion curve -0.1"
    )
    assert "brings it back sooner than adding random edges" in own.verdict
    assert "95% interval -0.1" in own.verdict
    assert own.verdict.endswith("12 nodes).")


def test_a_scorer_turned_round_is_told_to_be_worse():
    words = measured(scorer=lambda *asked: -by_value(*asked))["own"].verdict
    assert "lowers the probability of the class less than removing random edges (" in words
    assert "brings it back later than adding random edges (" in words


def test_a_scorer_that_knows_nothing_is_told_to_be_no_better():
    words = measured(60, scorer=lambda m, x, edges, n: torch.zeros(edges.size(1)))["own"].verdict
    assert "no more than removing random edges, as far as 60 nodes tell (" in words
    assert "no sooner than adding random edges, as far as 60 nodes tell (" in words


def test_a_single_edge_leaves_nothing_to_rank():
    x = torch.tensor([[0.0], [1.3]], dtype=torch.float64).repeat(20, 1)
    targets = torch.arange(0, 40, 2)
    edges = torch.stack([targets + 1, targets])
    found = faithfulness(Sum(), x, edges, targets, ["random"], scorers={"own": by_value}, draws=7)
    assert "no more than removing" in found["own"].verdict
    assert "no sooner than adding" in found["own"].verdict


@pytest.mark.parametrize(("count", "said"), [(1, "1 node is"), (9, "9 nodes are")])
def test_few_nodes_are_not_judged(count, said):
    words = measured(count)["own"].verdict
    assert words.startswith(f"{said} too few to tell own from random orders")
    assert words.endswith("pass 10 or more.")


def estimate(mean, low, high):
    return Estimate(mean, low, high, torch.zeros(30))


@pytest.mark.parametrize(
    ("deletion", "insertion", "removed", "brought"),
    [
        ((-0.2, -0.3, -0.1), (0.2, 0.1, 0.3), "more than", "sooner than"),
        ((0.2, 0.1, 0.3), (-0.2, -0.3, -0.1), "less than", "later than"),
        ((-0.2, -0.5, 0.0), (0.2, 0.0, 0.5), "no more than", "no sooner than"),
    ],
    ids=["better", "worse", "touching_zero"],
)
def test_the_words_follow_the_intervals(deletion, insertion, removed, brought):
    found = {"deletion_area": estimate(*deletion), "insertion_area": estimate(*insertion)}
    words = verdict("it", found, {}, 0.95)
    assert f"of the class {removed} removing random edges" in words
    assert f"brings it back {brought} adding random edges" in words


@pytest.mark.parametrize(
    ("deletion", "insertion", "said"),
    [
        (
            (-0.2, -0.3, -0.1),
            (0.2, 0.1, 0.3),
            "better at removing (-0.2, 95% interval -0.3 to -0.1",
        ),
        ((0.2, 0.1, 0.3), (-0.2, -0.3, -0.1), "worse at removing (+0.2, 95%"),
        ((-0.2, -0.5, 0.1), (0, -1, 1), "not measurably better at removing (-0.2"),
    ],
    ids=["better", "worse", "no_better"],
)
def test_the_nearest_edges_first_are_a_second_baseline(deletion, insertion, said):
    found = {"deletion_area": estimate(*deletion), "insertion_area": estimate(*insertion)}
    words = verdict("it", found, found, 0.95)
    assert f"nearest to the node first, which needs no model, it is {said}" in words


def test_differences_to_the_nearest_edges_are_given_where_they_were_measured():
    assert measured()["own"].against_nearest == {}
    x, edges, centres = stars(12)
    found = faithfulness(Sum(), x, edges, centres, ["nearest"], scorers={"own": by_value})
    assert found["nearest"].against_nearest == found["random"].against_nearest == {}
    torch.testing.assert_close(
        found["own"].against_nearest["deletion_area"].values,
        found["own"].deletion.areas - found["nearest"].deletion.areas,
    )
    assert "which needs no model, own is better" in found["own"].verdict


def test_random_is_told_to_be_the_baseline():
    found = measured(draws=7)
    assert found.verdicts["random"] == (
        "random is the baseline: edges in random order, the mean of 7 orders a node."
    )
    assert found["random"].against_random == {}


@pytest.mark.parametrize("count", [1, 12])
def test_it_is_data_for_json(count):
    found = measured(count, top_k=(1, 2))
    data = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert data["nodes"] == found.nodes.tolist()
    own = data["methods"]["own"]
    assert own["fidelity_plus"]["2"]["values"] == found["own"].fidelity_plus[2].values.tolist()
    assert own["deletion"]["area"] == found["own"].deletion.area
    assert (own["deletion"]["area_low"] is None) == (count == 1)
    assert data["settings"]["seed"] == 0
    assert data["settings"]["class"] == "predicted"


def test_the_table_has_a_row_for_each_method_with_the_same_columns():
    own, random = measured(top_k=(1, 2)).table()
    assert own["method"] == "own"
    assert random["method"] == "random"
    assert own.keys() == random.keys()
    assert own["fidelity_plus@2"] > random["fidelity_plus@2"]
    assert own["deletion_area_against_random_high"] < 0
    assert math.isnan(random["deletion_area_against_random_high"])


def test_it_is_a_mapping_that_names_what_it_has():
    found = measured()
    assert list(found) == ["own", "random"]
    assert repr(found) == "Faithfulness(12 nodes; own, random)"
    with pytest.raises(InputError, match="'attention' was not measured; measured: 'own', 'random'"):
        found["attention"]
    assert "attention" not in found


def test_curves_start_and_end_where_all_edges_and_none_are():
    found = measured()
    for method in found.values():
        assert method.deletion.mean[0] == method.insertion.mean[-1] == found.all_edges.mean
        assert method.deletion.mean[-1] == method.insertion.mean[0] == found.no_edges.mean


def test_fractions_of_edges_are_rounded_halves_up():
    of_fraction, of_k = counts_of(5, torch.tensor([0, 0.1, 0.3, 0.5, 1.0]), torch.tensor([2, 9]))
    assert of_fraction.tolist() == [0, 1, 2, 3, 5]
    assert of_k.tolist() == [2, 5]


def test_units_are_edges_or_pairs_of_nodes_and_loops_are_none():
    edges = torch.tensor([[0, 1, 0, 2, 2, 0], [1, 0, 1, 2, 1, 0]])
    given = Inputs(torch.zeros(3, 1), edges)
    assert units(given, undirected=False)[0].tolist() == [0, 1, 2, -1, 3, -1]
    number, count = units(given, undirected=True)
    assert number.tolist() == [0, 0, 0, -1, 1, -1]
    assert count == 2
    gone, alone = kept(torch.tensor([1, 0]), torch.tensor([0, 1]), number)
    assert gone.int().tolist() == [[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 1]]
    assert alone.int().tolist() == [[0, 0, 0, 1, 0, 1], [0, 0, 0, 1, 1, 1]]


def test_equal_scores_take_every_order_as_often():
    scores = torch.tensor([1.0, 3.0, 1.0, 1.0])
    drawn = [order(scores, torch.Generator().manual_seed(seed)) for seed in range(600)]
    assert {int(one[0]) for one in drawn} == {1}
    times = torch.stack(drawn)[:, 1].bincount(minlength=4)
    assert times[1] == 0
    assert times[[0, 2, 3]].min() > 150
