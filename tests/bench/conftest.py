"""Measuring without waiting: figures of tiny cases, in this process where a test wants to look."""

import importlib
import json

import pytest

from gat.bench import process


@pytest.fixture
def at_home(monkeypatch):
    """Functions run here instead of in a process of their own; the list of what was called."""
    called = []

    def run(function, arguments, *, threads, malloc="default", held=True):
        called.append((function, malloc))
        job = json.loads(json.dumps({"function": function, "arguments": arguments}))
        module, _, name = job["function"].partition(".")
        found = getattr(importlib.import_module(f"gat.bench.{module}"), name)
        return json.loads(json.dumps(found(**job["arguments"])))

    monkeypatch.setattr(process, "run", run)
    # Clocks are not under test: one run makes a sample.
    monkeypatch.setattr("gat.bench.timing.SHORTEST", 0.0)
    return called


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    """A synthetic graph that takes no time, called tiny."""
    from gat.bench import graphs

    monkeypatch.setitem(graphs.SIZES, "tiny", graphs.Size(50, 400, 0.658))
