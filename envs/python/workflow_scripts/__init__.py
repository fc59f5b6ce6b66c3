"""The package `workflow_scripts` of this tree, for PYTHONPATH: the tree itself would bring a random.py of a user's along."""

from pathlib import Path

__path__ = [str(Path(__file__).resolve().parents[3] / "workflow_scripts")]
