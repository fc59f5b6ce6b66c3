"""Data checks: what is suspicious in a data set is counted and told once, and never stops a run."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow_scripts.data.checks import CHECKS, summary
from workflow_scripts.data.index_entries import AT_ONCE, Faults, gather
from workflow_scripts.data.transforms import as_tensor


def test_each_check_says_what_it_means_and_what_to_do():
    for check in CHECKS.values():
        assert check.meaning.endswith(".")
        assert check.advice.endswith(".")


def test_a_line_a_check_with_the_number_of_ids_and_the_first_of_them():
    faults = Faults()
    for number in range(7):
        faults.suspect("orientation", f"p{number}", "6")
    faults.suspect("ignored_column", "notes")
    faults.suspect("orientation", "p0", "6")  # counts once
    first, second = summary(faults.findings)
    assert first.startswith("suspicious: orientation (7): p0 (6), p1 (6), p2 (6), p3 (6), p4 (6) and 2 more. The photo")
    assert second.startswith("suspicious: ignored_column (1): notes. The table")
    assert faults.messages == ()
    faults.raise_if_any("nothing")


def test_a_check_that_has_no_name_is_refused():
    with pytest.raises(KeyError):
        Faults().suspect("orientatoin", "p0")


def test_findings_of_many_threads_come_in_the_order_of_the_images():
    faults = Faults()
    items = list(range(2 * AT_ONCE + 1))
    gather(lambda item, own: own.suspect("orientation", str(item)), items, faults, None)
    assert [finding.identifier for finding in faults.findings] == [str(item) for item in items]


@given(st.integers(1, 3), st.integers(1, 3), st.booleans())
def test_mirrored_arrays_of_any_size_become_tensors(height, width, colours):
    """Numpy takes a mirrored array one pixel wide for contiguous, and torch refuses it."""
    array = np.arange(height * width * (3 if colours else 1), dtype=np.uint8)
    array = array.reshape((height, width, 3) if colours else (height, width))
    assert as_tensor(array[:, ::-1]).numpy().tolist() == array[:, ::-1].tolist()
