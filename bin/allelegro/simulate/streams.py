"""Independent random streams by name, so that what one dial draws never shifts what another part of the cohort draws."""

from zlib import crc32

import numpy as np


def stream(seed: int, name: str, *numbers: int) -> np.random.Generator:
    """The generator of a named part of the cohort; ``numbers`` tell chromosomes, donors or libraries apart."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(2**32 - 1, crc32(name.encode()), *numbers)))
