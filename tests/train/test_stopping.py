"""Stopping rules against sequences worked out by hand."""

from typing import Any

import pytest

from gat.train import StoppingConfig, make_stopping

# Validation (metric, loss) per epoch, with patience 2; K = weights kept, S = stop, - = neither.
SEQUENCE = [(0.5, 1.0), (0.5, 0.9), (0.6, 0.95), (0.4, 0.9), (0.6, 0.9), (0.5, 1.0), (0.5, 1.0)]

RULES: dict[str, tuple[dict[str, Any], str]] = {
    # 3rd: better metric, worse loss: patience restarts, nothing kept. 4th: loss ties: restarts.
    "official-gat": ({"name": "official-gat"}, "KK--K-S"),
    "official-gat by accuracy": ({"name": "official-gat", "monitor": "accuracy"}, "KKK-K-S"),
    "official-gat by loss": ({"name": "official-gat", "monitor": "loss"}, "KK-KK-S"),
    # Ties are no progress: epochs 4 and 5 use up the patience.
    "best-val-accuracy": ({"name": "best-val-accuracy"}, "K-K-S"),
    "best-val-loss": ({"name": "best-val-loss"}, "KK-S"),
    "none": ({"name": "none"}, "KKKKKKK"),
}


@pytest.mark.parametrize(("options", "expected"), RULES.values(), ids=RULES.keys())
def test_stopping_rule(options: dict[str, Any], expected: str) -> None:
    rule = make_stopping(StoppingConfig(patience=2, **options))
    answers = ""
    for metric, loss in SEQUENCE:
        verdict = rule.update(metric, loss)
        answers += "S" if verdict.stop else "K" if verdict.keep else "-"
        if verdict.stop:
            break
    assert answers == expected


def official_code(sequence: list[tuple[float, float]], patience: int) -> tuple[int, int]:
    """execute_cora.py's loop, name for name: (epoch stopped at, epoch saved last), or 0."""
    vlss_mn, vacc_mx, curr_step, saved = float("inf"), 0.0, 0, 0
    for epoch, (val_acc, val_loss) in enumerate(sequence, 1):
        if val_acc >= vacc_mx or val_loss <= vlss_mn:
            if val_acc >= vacc_mx and val_loss <= vlss_mn:
                saved = epoch
            vacc_mx = max((val_acc, vacc_mx))
            vlss_mn = min((val_loss, vlss_mn))
            curr_step = 0
        else:
            curr_step += 1
            if curr_step == patience:
                return epoch, saved
    return 0, saved


@pytest.mark.parametrize("seed", range(20))
def test_official_gat_equals_the_official_loop(seed: int) -> None:
    import random

    draw = random.Random(seed)
    sequence = [(draw.randint(0, 9) / 10, draw.randint(0, 9) / 10) for _ in range(60)]
    rule = make_stopping(StoppingConfig(name="official-gat", patience=4))
    stopped = saved = 0
    for epoch, (metric, loss) in enumerate(sequence, 1):
        verdict = rule.update(metric, loss)
        saved = epoch if verdict.keep else saved
        if verdict.stop:
            stopped = epoch
            break
    assert (stopped, saved) == official_code(sequence, 4)


@pytest.mark.parametrize("name", ["official-gat", "best-val-accuracy", "best-val-loss"])
def test_patience_0_never_stops(name: Any) -> None:
    rule = make_stopping(StoppingConfig(name=name, patience=0))
    assert not any(rule.update(0.5 - n / 1000, 1.0 + n).stop for n in range(300))


@pytest.mark.parametrize("cut", range(len(SEQUENCE)))
def test_state_dict_continues_where_it_was(cut: int) -> None:
    config = StoppingConfig(name="official-gat", patience=2)
    whole, first, second = (make_stopping(config) for _ in range(3))
    expected = [whole.update(*pair) for pair in SEQUENCE]
    answers = [first.update(*pair) for pair in SEQUENCE[:cut]]
    second.load_state_dict(first.state_dict())
    assert answers + [second.update(*pair) for pair in SEQUENCE[cut:]] == expected
