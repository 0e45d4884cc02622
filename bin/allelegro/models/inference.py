"""Prediction by strand for scoring many sequences; the numbers of ``LoadedModel.predict_log2``, taken apart."""

import numpy as np
import torch
from numpy.typing import NDArray

from allelegro.models.checkpoint import LoadedModel
from allelegro.models.encoding import reverse_complement


class StrandPredictor:
    """log2 activity of sequences as given (strand 0) and of their reverse complement (strand 1)."""

    def __init__(self, model: LoadedModel, batch_size: int = 256) -> None:
        self.model, self.batch_size = model, batch_size

    @torch.inference_mode()
    def __call__(self, codes: NDArray[np.uint8], strand: int) -> NDArray[np.float32]:
        """Predictions ``[n]`` of codes ``[n, width]``."""
        results = np.empty(len(codes), np.float32)
        for start in range(0, len(codes), self.batch_size):
            batch = torch.from_numpy(np.ascontiguousarray(codes[start : start + self.batch_size]))
            batch = batch.to(self.model.device)
            values = self.model._log2(reverse_complement(batch) if strand else batch)
            results[start : start + self.batch_size] = values.float().cpu().numpy()
        return results
