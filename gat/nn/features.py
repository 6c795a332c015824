"""Node features as they come: dense [N, F], or torch sparse CSR [N, F] where most are zero.

Projecting them needs no help: ``torch.nn.functional.linear`` takes both.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["drop_features"]


def drop_features(x: Tensor, p: float, training: bool) -> Tensor:
    """``F.dropout`` for dense and sparse CSR features.

    Of a sparse matrix only the stored values are drawn for: the rest is zero either way.
    """
    if x.layout is torch.strided:
        return F.dropout(x, p, training)
    if not training or p == 0:
        return x
    return torch.sparse_csr_tensor(
        x.crow_indices(),
        x.col_indices(),
        F.dropout(x.values(), p, training),
        x.shape,
        check_invariants=False,
    )
