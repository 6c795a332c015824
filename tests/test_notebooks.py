"""The notebooks run from top to bottom and show what they say."""

import runpy
from pathlib import Path

import pytest
import torch

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"


@pytest.fixture
def run(monkeypatch):
    """Runs a notebook as a script; gives its names and figures."""
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    monkeypatch.setattr(plt, "show", lambda: None)

    def run(name):
        names = runpy.run_path(str(NOTEBOOKS / f"{name}.py"))
        return names, [plt.figure(number) for number in plt.get_fignums()]

    yield run
    plt.close("all")


def test_scores_and_normalizers(run):
    names, figures = run("scores_and_normalizers")
    scores, normalizers = names["SCORES"], names["NORMALIZERS"]
    assert len(set(scores)) == len(set(normalizers)) == 5
    entering = names["entering"]
    for (_, normalizer), (accuracy, weights) in names["results"].items():
        mine = weights[entering]
        assert accuracy > 0.5
        if normalizer != "sigmoid":
            torch.testing.assert_close(float(mine.sum()), 1.0)
        kept = int((mine > 0).sum())
        assert kept == {"softmax": 17, "sigmoid": 17, "topk": 8}.get(normalizer, kept)
    assert any(
        (w[entering] == 0).any() for (_, n), (_, w) in names["results"].items() if "max" in n
    )
    panels = [len([axes for axes in figure.axes if axes.has_data()]) for figure in figures]
    assert panels == [25, 5]


def test_every_notebook_is_run_here():
    assert [path.stem for path in sorted(NOTEBOOKS.glob("*.py"))] == ["scores_and_normalizers"]
