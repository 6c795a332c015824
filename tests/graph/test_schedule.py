"""Schedules: every edge in one unit, rows in classes, hubs cut up."""

import pytest
import torch

from gat.graph import Graph, schedule
from gat.graph.schedule import most_units, schedule_rows
from tests.graphs import GRAPHS


@pytest.fixture(autouse=True)
def _small_classes(monkeypatch):
    monkeypatch.setattr(schedule, "LIGHT", 3)
    monkeypatch.setattr(schedule, "CHUNK", 8)


def rows_of(degrees):
    return torch.cat([torch.zeros(1, dtype=torch.int32), torch.tensor(degrees).cumsum(0).int()])


def test_rows_are_in_classes_in_their_order_and_hubs_in_chunks():
    rowptr = rows_of([2, 9, 0, 8, 4, 20, 3])
    made = schedule_rows(rowptr, 46)
    assert made.counts.tolist() == [5, 2, 3, 8]
    assert made.units.dtype == torch.int32
    assert made.units.tolist() == [
        [1, 2], [1, 10],
        [5, 23], [5, 31], [5, 39],
        [3, 11], [4, 19],
        [0, 0], [2, 11], [6, 43],
        *[[-1, -1]] * 2,
    ]  # fmt: skip


@pytest.mark.parametrize("name", GRAPHS)
def test_every_edge_and_every_row_is_in_one_unit(name):
    edges, num_src, num_dst = GRAPHS[name]
    graph = Graph.from_edge_index(edges, (num_src, num_dst))
    for csr, made in (
        (graph.by_target, graph.schedule),
        (graph.by_source, graph.source_schedule),
    ):
        hubs, middle, light, chunk = made.counts.tolist()
        assert made.units.shape == (most_units(csr.rows, graph.num_edges), 2)
        worked = torch.zeros(graph.num_edges, dtype=torch.int64)
        units = made.units[: hubs + middle + light].tolist()
        for row, begin in units:
            end = min(begin + chunk, int(csr.rowptr[row + 1]))
            assert csr.rowptr[row] <= begin <= end
            worked[begin:end] += 1
        assert (worked == 1).all()
        assert {row for row, _ in units} == set(range(csr.rows))
        degree = csr.rowptr.diff()
        assert all(degree[row] > 8 for row, _ in units[:hubs])
        assert all(3 < degree[row] <= 8 for row, _ in units[hubs : hubs + middle])
        assert all(degree[row] <= 3 for row, _ in units[hubs + middle :])
        assert (made.units[len(units) :] == -1).all()


def test_a_symmetric_graph_has_one_schedule():
    graph = Graph.from_edge_index(GRAPHS["path_both_ways"][0], 4)
    assert graph.source_schedule is graph.schedule


def test_counts_are_on_the_cpu_whatever_the_default_device_is():
    graph = Graph.from_edge_index(GRAPHS["hub"][0], 98)
    with torch.device("meta"):
        assert graph.schedule.counts.device.type == "cpu"


def test_counts_stay_on_the_cpu_when_the_graph_moves():
    graph = Graph.from_edge_index(GRAPHS["hub"][0], 98)
    before = graph.schedule
    moved = graph.to("meta").schedule
    assert (moved.units.device.type, moved.counts.device.type) == ("meta", "cpu")
    assert moved.counts is before.counts
    assert moved.units.shape == before.units.shape
