"""The bytes an operator must move, computed by hand."""

import pytest

from gat.bench.floors import floor
from gat.bench.record import Bandwidth, Case, Checked, Figure
from gat.errors import InputError

# 10 nodes, 100 edges, 2 heads x 3 channels, float32: a row is 24 bytes, all nodes' 240.
BY_HAND = {
    "gat": (100 * 24 + 240 + 4 * 200 + 400, 100 * 24 + 4 * 240 + 20 * 200 + 400),
    "gatv2": (100 * 24 + 2 * 240 + 400, 3 * 100 * 24 + 6 * 240 + 8 * 200 + 800),
    "dot": (2 * 100 * 24 + 2 * 240 + 400, 4 * 100 * 24 + 8 * 240 + 8 * 200 + 800),
}


@pytest.mark.parametrize("operator", BY_HAND)
def test_floor_is_what_a_hand_computes(operator):
    forward, backward = BY_HAND[operator]
    found = floor(operator, nodes=10, edges=100, heads=2, channels=3)
    expected = {"forward": forward, "backward": backward, "together": forward + backward}
    assert found == expected


def test_floor_of_another_operator():
    with pytest.raises(InputError, match="operator is 'cosine'; expected one of 'gat', 'gatv2'"):
        floor("cosine", 1, 1, 1, 1)


def test_a_figure_is_told_as_a_multiple_of_its_floor():
    figure = Figure(peer="gat", malloc="kept", parts={"together": [3.0, 1.0, 2.0]})
    case = Case(
        name="x",
        facts={},
        checked=Checked(on="all", tolerance={}, errors={}),
        figures=[figure],
        bandwidth=[Bandwidth(malloc="kept", copied=9e9, gathered=4e9)],
        floor={"together": 2_000_000_000},
    )
    # The median of 2 s, over half a second.
    assert case.over_floor(figure) == 4.0
    assert case.over_floor(figure.model_copy(update={"malloc": "default"})) is None


def test_narrow_rows_halve_what_is_gathered_and_nothing_else():
    wide, narrow = (floor("gat", 10, 100, 2, 3, size)["forward"] for size in (4, 2))
    assert wide - narrow == 100 * 12 + 10 * 12


def test_on_a_gpu_the_floor_is_at_the_bandwidth_of_a_copy():
    figure = Figure(peer="gat", malloc="default", parts={"together": [2.0]})
    found = Bandwidth(malloc="default", copied=4e9, gathered=3e9, floor_at="copied")
    case = Case(
        name="x",
        facts={},
        checked=Checked(on="all", tolerance={}, errors={}),
        figures=[figure],
        bandwidth=[found],
        floor={"together": 2_000_000_000},
    )
    assert case.over_floor(figure) == 4.0
