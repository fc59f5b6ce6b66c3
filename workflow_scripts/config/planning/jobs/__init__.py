"""What the jobs of each stage read, the settings they run under and the modules that their blocks name.

One function a stage, called with the wildcards of its rule; nothing is computed and no file of results is opened. All
modules here are imported.
"""

import importlib
import pkgutil

from workflow_scripts.config.planning.registry import JOBS, ON_REQUEST

__all__ = ["JOBS", "ON_REQUEST"]

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
