"""What a training step minimises: the loss of the training rows and, for a student, its teacher's.

R rows of output, K classes (or labels).
"""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor
from torch.nn import functional as F

from gat.train import metrics
from gat.train.batches import Batch
from gat.train.tricks_config import DistillationConfig

__all__ = ["Objective", "divergence"]

OFF = DistillationConfig()


@dataclass(frozen=True)
class Objective:
    """The loss of a step. Called with the outputs [R, K] of a batch; returns a scalar tensor.

    Where the batch has a teacher's logits it is

        (1 - alpha) * (loss of the training rows) + alpha * T^2 * KL(teacher / T || student / T)

    with the divergence over all rows of output, training or not (Hinton, Vinyals, Dean 2015,
    arXiv 1503.02531, section 2; as the student of ogbn-arxiv's published self-distillation).
    """

    loss: metrics.LossName = "cross-entropy"
    label_smoothing: float = 0.0
    distillation: DistillationConfig = OFF

    def __call__(self, outputs: Tensor, batch: Batch) -> Tensor:
        part = batch.parts["train"]
        logits = part.select(outputs)
        loss = metrics.loss(logits, part.y, self.label_smoothing, self.loss, part.weight)
        if batch.teacher is None:
            return loss
        # The rows of output are the first ones of x, where they are not all.
        teacher, options = batch.teacher[: len(outputs)], self.distillation
        soft = divergence(
            outputs, teacher, options.temperature, options.average, multilabel=part.y.dim() == 2
        )
        return (1 - options.alpha) * loss + options.alpha * options.temperature**2 * soft


def divergence(
    student: Tensor,
    teacher: Tensor,
    temperature: float,
    average: Literal["entries", "nodes"] = "entries",
    *,
    multilabel: bool = False,
) -> Tensor:
    """KL(softmax(teacher / T) || softmax(student / T)) of logits [R, K]; several labels: the sum
    over labels of the divergence of each one's two values.

    "nodes" is the mean over rows. "entries" is the mean over rows and classes, K times less: what
    ``nn.KLDivLoss()`` computes, which the published runs used. Returns a scalar tensor.
    """
    student, teacher = student.float() / temperature, teacher.float() / temperature
    if multilabel:
        likely = teacher.sigmoid()
        # Cross entropy less the entropy, each in logits, where nothing overflows.
        each = F.binary_cross_entropy_with_logits(student, likely, reduction="none")
        each = each - F.binary_cross_entropy_with_logits(teacher, likely, reduction="none")
    else:
        each = F.kl_div(
            student.log_softmax(dim=-1),
            teacher.log_softmax(dim=-1),
            reduction="none",
            log_target=True,
        )
    return each.mean() if average == "entries" else each.sum(dim=-1).mean()
