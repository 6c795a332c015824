"""A planted ogbn-proteins: no features of nodes, 8 of each edge, 112 labels from hidden groups.

Each protein belongs to a group and has a *decoy* group. Some proteins are *sticky*: found together
with many, whose function they do not share. Most edges of the others lead to sticky proteins of
their decoy group, so the labels around a protein mislead whoever trusts all of them. Edges within a
group are strong, others weak, and 7 of their 8 features are the mean of the two ends' profiles: a
group's profile, blurred for each protein. The last says whether a sticky protein takes part. So a
protein's own edges tell its group poorly, and those of its neighbours, averaged, tell it well: to
whoever leaves out the sticky ones, whom the sum of their edges gives away, or weighs single edges.
"""

import numpy as np
from numpy.random import Generator

from gat.data.synthetic.blocks import Blocks, Ends, degree_law, rank_shares, unique_pairs
from gat.data.synthetic.facts import Facts
from gat.data.synthetic.planted import PlantedGraph, rounded, whole_shares

__all__ = ["SPECIES", "planted_proteins"]

# Taxonomy numbers of six species to train on, one to validate, one to test.
SPECIES = {"train": (3702, 4932, 6239, 7227, 9606, 10090), "valid": (7955,), "test": (511145,)}
# Degrees are nearly even: x is a sum over a node's edges and would else tell little but its degree.
PLANTED = {
    "groups": 16,
    "sticky": 0.3,
    "same": 0.25,
    "decoy": 0.6,
    "blur": 0.5,
    "weak": 0.35,
    "likely": 0.87,
    "unlikely": 0.06,
    "exponent": 12.0,
}
ROWS = 1_000_000


def planted_proteins(name: str, facts: Facts, scale: float, seed: int) -> PlantedGraph:
    """As ``planted_graph``, which has checked everything."""
    rng = [np.random.default_rng(part) for part in np.random.SeedSequence(seed).spawn(4)]
    groups = int(PLANTED["groups"])
    sizes = whole_shares(facts.nodes, rank_shares(groups, 8.0))
    law = degree_law(PLANTED["exponent"], facts.mean_degree, facts.largest_degree, int(sizes.max()))
    # Block k: group k's usual proteins; groups + k: its sticky ones.
    sticky = np.ceil(PLANTED["sticky"] * sizes).astype(np.int64)
    blocks = Blocks(np.concatenate([sizes - sticky, sticky]), law, rng[0])
    block = blocks.block_of_node()
    group = block % groups
    # A shift of 1 to groups - 1: never its own group.
    decoy = (group + rng[0].integers(1, groups, facts.nodes, dtype=np.int32)) % groups
    edges = unique_pairs(
        lambda count: _draw(blocks, decoy, count, rng[0]),
        facts.edges,
        facts.nodes,
        None,
        rng[0],
    )
    species, parts = _species(facts, rng[2])
    return PlantedGraph(
        name,
        scale,
        seed,
        facts,
        PLANTED,
        edges,
        None,
        _labels(group, facts, rng[3]),
        parts,
        {"node_species": species},
        _edge_features(edges, group, block >= groups, facts, rng[1]),
    )


def _draw(blocks: Blocks, decoy: np.ndarray, count: int, rng: Generator) -> Ends:
    """The ends of ``count`` edges: of one group, to a sticky one of the decoy group, or any."""
    groups = int(PLANTED["groups"])
    usual = int(blocks.starts[groups])
    shares = [PLANTED["same"], PLANTED["decoy"], 1.0 - PLANTED["same"] - PLANTED["decoy"]]
    same, misled, rest = rng.multinomial(count, shares)
    block = blocks.any_block(rng, same, 0, usual)
    one = blocks.pick(rng, blocks.any_block(rng, misled, 0, usual))
    first = [blocks.pick(rng, block), one, blocks.pick(rng, blocks.any_block(rng, rest))]
    second = [blocks.pick(rng, block), blocks.pick(rng, groups + decoy[one])]
    second.append(blocks.pick(rng, blocks.any_block(rng, rest)))
    return np.concatenate(first), np.concatenate(second)


def _edge_features(
    edges: np.ndarray, group: np.ndarray, sticky: np.ndarray, facts: Facts, rng: Generator
) -> np.ndarray:
    """float32 [E, D] in [0, 1], of three decimals."""
    width = facts.edge_features
    # Most of a profile is 0 or 1: differences that dropout in six layers leaves to be seen.
    profile = rng.random((int(PLANTED["groups"]), width), dtype=np.float32)
    profile = np.clip(2.5 * profile - 0.75, 0.0, 1.0)
    blur = rng.standard_normal((facts.nodes, width), dtype=np.float32)
    own = profile[group] + np.float32(PLANTED["blur"]) * blur
    result = np.empty((edges.shape[1], width), dtype=np.float32)
    for start in range(0, edges.shape[1], ROWS):
        rows = slice(start, start + ROWS)
        one, two = edges[:, rows]
        any_sticky = sticky[one] | sticky[two]
        strong = (group[one] == group[two]) & ~any_sticky
        strength = np.where(strong, 1.0, PLANTED["weak"]).astype(np.float32)
        noise = 0.05 * rng.standard_normal((len(one), width), dtype=np.float32)
        told = (own[one] + own[two]) / 2 * strength[:, None]
        told[:, -1] = np.where(any_sticky, 0.9, 0.1)
        result[rows] = rounded(np.clip(told + noise, 0.0, 1.0), 3)
    return result


def _labels(group: np.ndarray, facts: Facts, rng: Generator) -> np.ndarray:
    """float32 [N, K] of 0 and 1: a label is likely in a third of the groups."""
    groups = int(PLANTED["groups"])
    likely = rng.random((groups, facts.classes)) < 1 / 3
    # Each label has a group, and each is absent from one.
    labels = np.arange(facts.classes)
    likely[labels % groups, labels] = True
    likely[(labels + 1) % groups, labels] = False
    chance = np.where(likely, PLANTED["likely"], PLANTED["unlikely"]).astype(np.float32)
    drawn = rng.random((facts.nodes, facts.classes), dtype=np.float32)
    return (drawn < chance[group]).astype(np.float32)


def _species(facts: Facts, rng: Generator) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """int64 [N] species, and the parts: each species lies wholly in one."""
    order = rng.permutation(facts.nodes)
    train, valid, _ = facts.parts
    species = np.empty(facts.nodes, dtype=np.int64)
    parts = {}
    pieces = np.split(order, [train, train + valid])
    for (part, kinds), nodes in zip(SPECIES.items(), pieces, strict=True):
        parts[part] = np.sort(nodes)
        species[nodes] = np.array(kinds)[np.arange(len(nodes)) % len(kinds)]
    return species, parts
