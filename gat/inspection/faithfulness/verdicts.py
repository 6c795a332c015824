"""A method against random orders, in words that claim no more than the interval does."""

from gat.inspection.faithfulness.results import Estimate

__all__ = ["random_verdict", "verdict"]

# Intervals of fewer nodes are too narrow to go by.
ENOUGH = 10
# Below this a difference of probabilities is rounding.
NOTHING = 1e-6


def random_verdict(draws: int) -> str:
    """What the baseline is."""
    return f"random is the baseline: edges in random order, the mean of {draws} orders a node."


def verdict(name: str, deletion: Estimate, insertion: Estimate, confidence: float) -> str:
    """Two sentences on a method's areas less those of random orders."""
    nodes = deletion.values.numel()
    if nodes < ENOUGH:
        return (
            f"{nodes} node{'s are' if nodes > 1 else ' is'} too few to tell {name} from random "
            f"orders (against random, {deletion.mean:+.3f} of area under the deletion curve, "
            f"{insertion.mean:+.3f} under the insertion curve); pass {ENOUGH} or more."
        )
    # Less area under the deletion curve means a faster fall.
    removing = _side(-deletion.high, -deletion.low)
    keeping = _side(insertion.low, insertion.high)
    tell = f", as far as {nodes} nodes tell"
    removed = {1: "more than", -1: "less than", 0: "no more than"}[removing]
    brought = {1: "sooner than", -1: "later than", 0: "no sooner than"}[keeping]
    return (
        f"Removing the edges {name} ranks highest first lowers the probability of the class "
        f"{removed} removing random edges{'' if removing else tell} "
        f"({_figures('deletion', deletion, confidence)}). "
        f"Adding them first brings it back {brought} adding random edges{'' if keeping else tell} "
        f"({_figures('insertion', insertion, confidence)})."
    )


def _side(low: float, high: float) -> int:
    """Which side of 0 the interval is on; 0 if on both."""
    return 1 if low > NOTHING else -1 if high < -NOTHING else 0


def _figures(curve: str, difference: Estimate, confidence: float) -> str:
    return (
        f"area under the {curve} curve {difference.mean:+.3f} against random, "
        f"{confidence:.0%} interval {difference.low:+.3f} to {difference.high:+.3f}, "
        f"{difference.values.numel()} nodes"
    )
