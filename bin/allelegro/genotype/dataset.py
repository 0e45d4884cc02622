"""A haplotype store as a torch Dataset, to train any model on."""

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.utils.data import Dataset

from allelegro.errors import DataError
from allelegro.genotype.store import HaplotypeStore

Item = Tensor | tuple[Tensor, Tensor]


class HaplotypeDataset(Dataset[Item]):
    """Both haplotypes of every chosen donor in every chosen window, donor after donor within a window.

    An item is a tensor of codes ``[2, width]`` (uint8: A 0, C 1, G 2, T 3, N 4), or with ``targets``, whose first two axes are
    the chosen windows and donors, a pair of it and ``targets[window, donor]``. ``place(i)`` says whose item ``i`` is.
    ``windows`` are row numbers of ``store.windows``, ``donors`` names; None takes all.

    Raises DataError for a donor that the store does not hold and for targets of another shape.
    """

    def __init__(
        self,
        store: HaplotypeStore,
        *,
        windows: ArrayLike | None = None,
        donors: list[str] | None = None,
        targets: ArrayLike | None = None,
    ) -> None:
        self.store = store
        self.donors = store.donors if donors is None else list(donors)
        self.windows: NDArray[np.int64] = np.arange(len(store)) if windows is None else np.asarray(windows, np.int64)
        self._columns = np.array([store.donor(name) for name in self.donors], np.int64)
        self._targets = None if targets is None else np.asarray(targets)
        shape = (len(self.windows), len(self.donors))
        if self._targets is not None and self._targets.shape[:2] != shape:
            raise DataError(
                f"targets of shape {self._targets.shape}; the first two axes are windows and donors, {shape}"
            )

    def __len__(self) -> int:
        return len(self.windows) * len(self.donors)

    def place(self, item: int) -> tuple[int, str]:
        """Window (row number of ``store.windows``) and donor of an item."""
        window, donor = divmod(range(len(self))[item], len(self.donors))
        return int(self.windows[window]), self.donors[donor]

    def __getitem__(self, item: int) -> Item:
        return self.__getitems__([range(len(self))[item]])[0]

    def __getitems__(self, items: list[int]) -> list[Item]:
        """Many items at once, as a DataLoader asks for a batch."""
        window, donor = np.divmod(np.asarray(items, np.int64), len(self.donors))
        codes = torch.from_numpy(self.store.haplotypes(self.windows[window], self._columns[donor]))
        if self._targets is None:
            return list(codes)
        targets: Any = torch.from_numpy(np.ascontiguousarray(self._targets[window, donor]))
        return list(zip(codes, targets, strict=True))
