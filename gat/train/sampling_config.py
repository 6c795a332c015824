"""The table ``[sampling]`` of a configuration: which part of the graph a training step sees."""

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from gat.train.config_errors import Section

__all__ = ["SamplingConfig"]

Count = Annotated[int, Field(ge=1)]
CountOrZero = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]

# The keys that each way of sampling reads, besides those that all read.
NEIGHBOR = {"num_neighbors", "batch_size", "replace"}
KEYS = {
    "neighbor": NEIGHBOR,
    "auto": NEIGHBOR,
    "random-node": {"num_parts"},
    "cluster": {"num_parts", "clusters_per_batch"},
    "random-walk": {"roots", "walk_length", "steps", "coverage"},
}
COMMON = {"prefetch", "evaluation", "inference_batch_size", "inference_memory"}


class SamplingConfig(Section):
    """How a graph is cut into batches, see `gat.sampling`; by default it is not.

    A key that the name does not read must have its default value.
    """

    # "auto": "neighbor" where the whole graph would not fit into the memory budget, else "none".
    name: Literal["none", "neighbor", "random-node", "random-walk", "cluster", "auto"] = "none"
    # Neighbours drawn of a node: one number, or one per attention layer, counted in hops from the
    # training nodes on; -1 takes all.
    num_neighbors: int | list[int] = 10
    # Training nodes of a step.
    batch_size: Count = 1024
    # The same neighbour may be drawn again.
    replace: bool = False
    # Parts into which the nodes are cut, at random or in clusters; clusters joined to one batch.
    num_parts: Count = 10
    clusters_per_batch: Count = 1
    # Random walks of a step, their length, and the steps of an epoch.
    roots: Count = 1000
    walk_length: Count = 4
    steps: Count = 10
    # If not 0: a node's loss counts the less the more often walks meet it, which is counted before
    # training until each has been met so many times on average.
    coverage: CountOrZero = 0
    # Batches made ahead in the background (0: none).
    prefetch: CountOrZero = 2
    # Scoring computes all nodes with all their neighbours, layer by layer in bounded memory, or all
    # of the graph at once.
    evaluation: Literal["layer-wise", "full"] = "layer-wise"
    # Layer-wise: GiB that what is computed at a time may take, and at most so many targets.
    inference_memory: Positive = 4.0
    inference_batch_size: Count | None = None

    @property
    def on(self) -> bool:
        """Whether a step sees less than the whole graph."""
        return self.name != "none"

    def fanouts(self, num_layers: int) -> list[int]:
        """Neighbours drawn in each hop from the training nodes on, of as many attention layers."""
        given = self.num_neighbors
        return [given] * num_layers if isinstance(given, int) else list(given)

    @field_validator("num_neighbors", mode="before")
    @classmethod
    def _fanouts_are_whole(cls, value: object) -> object:
        numbers = value if isinstance(value, list) and value else [value]
        if all(isinstance(n, int) and not isinstance(n, bool) and n >= -1 for n in numbers):
            return value
        raise ValueError(
            f"expected a number from -1 (all) up, or a list of such, one per attention layer, got "
            f"{value!r}"
        )

    @model_validator(mode="after")
    def _options_fit_the_name(self) -> Self:
        read = {"name"} if not self.on else KEYS[self.name] | COMMON | {"name"}
        fields = type(self).model_fields
        strangers = [k for k in fields if k not in read and getattr(self, k) != fields[k].default]
        if strangers:
            raise ValueError(
                f"sampling by {self.name!r} reads {', '.join(k for k in fields if k in read)}; "
                f"leave out {', '.join(strangers)}, or set the whole table: "
                f'sampling = {{name = "{self.name}"}}'
            )
        return self

    @model_validator(mode="after")
    def _clusters_are_enough(self) -> Self:
        if self.clusters_per_batch > self.num_parts:
            raise ValueError(
                f"clusters_per_batch is {self.clusters_per_batch}, more than the num_parts = "
                f"{self.num_parts} there are"
            )
        return self
