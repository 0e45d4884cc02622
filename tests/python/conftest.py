"""Fixtures that several test files share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.tools import make_world


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small, valid set of inputs for every tool; tests work on copies of it."""
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Torch on one thread, so that sums come out alike."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
