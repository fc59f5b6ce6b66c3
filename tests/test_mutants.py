"""The table of mutants fits the code: each changes one place, and its tests are there."""

import re

from conftest import SOURCES
from tools.mutants import mutants


def test_every_mutant_can_be_made():
    chosen = list(mutants())
    assert len(chosen) >= 80 and len({(mutant.file, mutant.old, mutant.new) for mutant in chosen}) == len(chosen)
    for mutant in chosen:
        assert mutant.source() != (SOURCES / mutant.file).read_text(encoding="utf-8")
        for target in mutant.targets:
            file, _, name = target.partition("::")
            text = (SOURCES / file).read_text(encoding="utf-8")
            assert not name or re.search(rf"def {name}\b", text), target
