"""What several tests of sampling need."""

import pytest

from gat.graph import Graph, structure


@pytest.fixture
def sorts(monkeypatch):
    """A list that grows whenever a graph is sorted, by target or by source."""
    made, by_target, by_source = [], structure._sort, Graph.transpose.compute

    def sort(edges):
        made.append(edges)
        return by_target(edges)

    def turn(graph):
        made.append(graph)
        return by_source(graph)

    monkeypatch.setattr(structure, "_sort", sort)
    monkeypatch.setattr(Graph.transpose, "compute", turn)
    return made
