"""Sections of the configuration for tricks around a model: labels as inputs, distillation, C&S.

The first two and the loss are of Wang, Jin, Zhang, Wipf et al. 2021, "Bag of Tricks for Node
Classification with Graph Neural Networks" (arXiv 2103.13355); all are off by default.
"""

from typing import Literal, Self

from pydantic import Field, model_validator

from gat.train.config_errors import Section

__all__ = ["CorrectAndSmoothConfig", "DistillationConfig", "LabelsConfig"]


class LabelsConfig(Section):
    """Training labels as inputs; see :mod:`gat.train.label_inputs`."""

    # Join the labels of training nodes to the features; in evaluation, of all training nodes.
    inputs: bool = False
    # In each training step, the share of the training labels that are inputs; the loss is on the
    # other training nodes.
    rate: float = Field(default=0.5, gt=0, lt=1)
    # How often the predictions for all other nodes are fed back in the place of their labels.
    reuse: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _reuse_needs_inputs(self) -> Self:
        if self.reuse and not self.inputs:
            raise ValueError(
                f"reuse = {self.reuse} feeds predictions back where labels are inputs; set "
                "inputs = true, or reuse = 0"
            )
        return self


class DistillationConfig(Section):
    """First a teacher of the same configuration, then a student that learns from its predictions;
    see :mod:`gat.train.distillation`."""

    enabled: bool = False
    # Weight of the teacher's predictions in the loss; the labels have the rest.
    alpha: float = Field(default=0.95, gt=0, le=1)
    # Both distributions are softened (above 1) or sharpened (below 1) by it.
    temperature: float = Field(default=0.7, gt=0, allow_inf_nan=False)
    # Mean divergence over entries of [N, K] (the published code), or over nodes (K times as much).
    average: Literal["entries", "nodes"] = "entries"


class CorrectAndSmoothConfig(Section):
    """Spreading of training errors and labels over the graph after training; see
    :mod:`gat.train.correct_and_smooth`."""

    enabled: bool = False
    # Steps of spreading the training nodes' errors, 0 for none, and the weight of the neighbours.
    correction_layers: int = Field(default=50, ge=0)
    correction_alpha: float = Field(default=0.8, ge=0, le=1)
    # Steps of spreading predictions and training labels, and the weight of the neighbours.
    smoothing_layers: int = Field(default=50, ge=0)
    smoothing_alpha: float = Field(default=0.8, ge=0, le=1)
    # What spread errors are multiplied by: None scales each node's to the training nodes' mean
    # error (autoscale), a number is the factor itself.
    scale: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    # Spread over the graph with one self-loop at each node.
    add_self_loops: bool = True

    @model_validator(mode="after")
    def _does_something(self) -> Self:
        if self.enabled and not (self.correction_layers or self.smoothing_layers):
            raise ValueError(
                "correction_layers and smoothing_layers are both 0, which would change nothing; "
                "set one of them, or enabled = false"
            )
        return self
