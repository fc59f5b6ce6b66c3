"""The command line that all stages share: settings as JSON, inputs and outputs by name, one line for a user's mistake.

    if __name__ == "__main__":
        run(main, inputs=("index", "images"), outputs=("cams",))

An input that a job does not have is given as an empty option and reads as None; one that may be many reads as a list.
"""

import argparse
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace

from workflow_scripts.errors import UserError
from workflow_scripts.provenance import write_sidecar


@dataclass(frozen=True)
class Job:
    """What a stage's `main` receives: settings, inputs and outputs as attributes, and the job's fingerprint."""

    settings: SimpleNamespace
    inputs: SimpleNamespace
    outputs: SimpleNamespace
    workers: int
    fingerprint: str


def plain(value):
    """Settings back as dictionaries and lists."""
    if isinstance(value, SimpleNamespace):
        return {key: plain(item) for key, item in vars(value).items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


def run(
    main: Callable[[Job], None], inputs: Sequence[str] = (), outputs: Sequence[str] = (), lists: Sequence[str] = ()
) -> None:
    """Parse the command line, call `main`, write a sidecar for every output."""
    stage = os.path.splitext(os.path.basename(sys.modules["__main__"].__file__ or ""))[0]
    parser = argparse.ArgumentParser(prog=f"python -m workflow_scripts.stages.{stage}")
    parser.add_argument("--settings", required=True, help="canonical JSON of the settings")
    parser.add_argument("--code", required=True, help="digest of the code")
    parser.add_argument("--workers", type=int, default=1, help="processes; never changes the bytes")
    parser.add_argument("--gpus", type=int, default=0, help="with 0 the job sees no GPU")
    for name in (*inputs, *lists):
        parser.add_argument(f"--{name}", nargs="*", default=[])
    for name in outputs:
        parser.add_argument(f"--{name}-to", required=True)
    arguments = vars(parser.parse_args())

    paths = {name: arguments[name] for name in (*inputs, *lists)}
    paths = {name: [path for path in value if path] for name, value in paths.items()}
    job = Job(
        settings=json.loads(arguments["settings"], object_hook=lambda item: SimpleNamespace(**item)),
        inputs=SimpleNamespace(**{n: v if n in lists else (v[0] if v else None) for n, v in paths.items()}),
        outputs=SimpleNamespace(**{name: arguments[f"{name}_to"] for name in outputs}),
        workers=arguments["workers"],
        fingerprint=hashlib.sha256(f"{arguments['settings']}\n{arguments['code']}".encode()).hexdigest(),
    )
    if arguments["gpus"] == 0:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    start = time.perf_counter()
    try:
        main(job)
    except UserError as error:
        sys.exit(f"error: {error}")
    seconds = time.perf_counter() - start
    parents = [path for value in paths.values() for path in value]
    modules = sorted(
        name.removeprefix("workflow_scripts.") for name in sys.modules if name.startswith("workflow_scripts.")
    )
    for path in vars(job.outputs).values():
        write_sidecar(path, stage, arguments["settings"], arguments["code"], parents, seconds, modules)
    print(f"{stage}: done in {seconds:.1f} s", flush=True)
