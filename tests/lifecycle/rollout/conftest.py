"""Rollouts beside a deployed champion, for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.serving.live_rollouts import Rollouts
from tests.helpers.serving.live_versions import Versions


@pytest.fixture
def rollouts(versions: Versions, tmp_path: Path) -> Iterator[Rollouts]:
    versions.deploy(1)
    rollouts = Rollouts(versions, tmp_path)
    yield rollouts
    rollouts.store.close()
