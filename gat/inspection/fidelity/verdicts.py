"""A method against its baselines, in words that claim no more than the intervals do."""

from collections.abc import Mapping

from gat.inspection.fidelity.results import Estimate

__all__ = ["ENOUGH", "random_verdict", "sides", "verdict"]

# Intervals of fewer nodes are too narrow to go by.
ENOUGH = 10
# Below this a difference of probabilities is rounding.
NOTHING = 1e-6

Differences = Mapping[str, Estimate]


def random_verdict(draws: int) -> str:
    """What the baseline is."""
    return f"random is the baseline: edges in random order, the mean of {draws} orders a node."


def verdict(name: str, random: Differences, nearest: Differences, confidence: float) -> str:
    """A method's areas less those of random orders, and, unless empty, of the nearest edges."""
    deletion, insertion = random["deletion_area"], random["insertion_area"]
    nodes = deletion.values.numel()
    if nodes < ENOUGH:
        return (
            f"{nodes} node{'s are' if nodes > 1 else ' is'} too few to tell {name} from random "
            f"orders (against random, {deletion.mean:+.2g} of area under the deletion curve, "
            f"{insertion.mean:+.2g} under the insertion curve); pass {ENOUGH} or more."
        )
    removing, adding = sides(random)
    tell = f", as far as {nodes} nodes tell"
    removed = {1: "more than", -1: "less than", 0: "no more than"}[removing]
    brought = {1: "sooner than", -1: "later than", 0: "no sooner than"}[adding]
    sentences = [
        f"Removing first the edges that {name} ranks highest lowers the probability of the class "
        f"{removed} removing random edges{'' if removing else tell} "
        f"(difference in area under the deletion curve {_figures(deletion, confidence)}).",
        f"Adding them first brings it back {brought} adding random edges{'' if adding else tell} "
        f"(difference in area under the insertion curve {_figures(insertion, confidence)}).",
    ]
    if nearest:
        sentences.append(_beside_nearest(name, nearest, confidence))
    return " ".join(sentences)


def _beside_nearest(name: str, nearest: Differences, confidence: float) -> str:
    """What is left of it beside an order that looks at distance alone."""
    words = {1: "better", -1: "worse", 0: "not measurably better"}
    removing, adding = (words[side] for side in sides(nearest))
    deletion, insertion = (
        _figures(nearest[area], confidence) for area in ("deletion_area", "insertion_area")
    )
    return (
        f"Beside taking the edges nearest to the node first, which needs no model, {name} is "
        f"{removing} at removing ({deletion}) and {adding} at adding ({insertion})."
    )


def sides(differences: Differences) -> tuple[int, int]:
    """Of deletion and insertion: 1 better, -1 worse, 0 where the interval has both."""
    deletion, insertion = differences["deletion_area"], differences["insertion_area"]
    # Less area under the deletion curve means a faster fall.
    return _side(-deletion.high, -deletion.low), _side(insertion.low, insertion.high)


def _side(low: float, high: float) -> int:
    return 1 if low > NOTHING else -1 if high < -NOTHING else 0


def _figures(difference: Estimate, confidence: float) -> str:
    return (
        f"{difference.mean:+.2g}, {confidence:.0%} interval {difference.low:+.2g} to "
        f"{difference.high:+.2g}, {difference.values.numel()} nodes"
    )
