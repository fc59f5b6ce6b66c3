"""Numbers of the published code, kept beside a checkout; tests that need them are skipped where they are not."""

import numpy as np
import pytest
from conftest import SOURCES

FOLDER = SOURCES.parent / "shared" / "golden"


def golden(name: str) -> dict[str, np.ndarray]:
    """The arrays of a file."""
    if not (FOLDER / name).exists():
        pytest.skip(f"needs ../shared/golden/{name}")
    with np.load(FOLDER / name) as file:
        return dict(file)


def assert_near(found, expected: np.ndarray, tolerance: float) -> None:
    """Of one shape, and no value further off than a share of the largest expected one."""
    found = np.asarray(found)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * float(np.abs(expected).max()))
