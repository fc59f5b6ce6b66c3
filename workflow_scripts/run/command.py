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
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import NoReturn

from workflow_scripts.base import plugins, stopping
from workflow_scripts.base.errors import UserError, disk_fault, not_written, one_line
from workflow_scripts.run import gpus
from workflow_scripts.store.provenance import parent_digests, write_sidecar


@dataclass(frozen=True)
class Job:
    """What a stage's `main` receives: settings, inputs and outputs as attributes, and the job's fingerprint.

    The fingerprint is that of the settings, the code and the content of the inputs: all that decides the bytes.
    """

    settings: SimpleNamespace
    inputs: SimpleNamespace
    outputs: SimpleNamespace
    workers: int
    fingerprint: str
    save_every: int | None = None  # steps of a training between saved states
    shard: str | None = None  # "2-of-4": that part of the images alone
    shards: tuple[str, ...] = ()  # files that hold all parts, to be put together


def plain(value):
    """Settings back as dictionaries and lists."""
    if isinstance(value, SimpleNamespace):
        return {key: plain(item) for key, item in vars(value).items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


def run(
    main: Callable[[Job], None],
    inputs: Sequence[str] = (),
    outputs: Sequence[str] = (),
    lists: Sequence[str] = (),
    shared: bool = False,
) -> None:
    """Parse the command line, call `main`, write a sidecar for every output.

    Args:
        shared: with several GPUs, torchrun starts the command once for each; `main` divides the work, the first writes.
    """
    stage = os.path.splitext(os.path.basename(sys.modules["__main__"].__file__ or ""))[0]
    parser = argparse.ArgumentParser(prog=f"python -m workflow_scripts.stages.{stage}")
    parser.add_argument("--settings", required=True, help="canonical JSON of the settings")
    parser.add_argument("--code", required=True, help="digest of the code")
    parser.add_argument("--workers", type=int, default=1, help="processes; never changes the bytes")
    parser.add_argument(
        "--save-every", type=int, help="steps of a training between saved states; never changes the bytes"
    )
    parser.add_argument("--shard", nargs="?", const="", default="", help="as 2-of-4: that part of the images")
    parser.add_argument("--shards", nargs="*", default=[], help="files of all parts, to be put together")
    parser.add_argument("--gpus", type=int, default=0, help="how many it may use; with 0 it sees none")
    for name in (*inputs, *lists):
        parser.add_argument(f"--{name}", nargs="*", default=[])
    for name in outputs:
        parser.add_argument(f"--{name}-to", required=True)
    arguments = vars(parser.parse_args())

    paths = {name: arguments[name] for name in (*inputs, *lists)}
    paths = {name: [path for path in value if path] for name, value in paths.items()}
    stopping.on_signals()
    stopping.watch_parents()
    first = not (shared and int(os.environ.get("RANK", 0)) and "TORCHELASTIC_RUN_ID" in os.environ)
    if not first:
        sys.stdout = open(os.devnull, "w")
    start = time.perf_counter()
    try:
        if gpus.take(arguments["gpus"]) > 1 and shared and "TORCHELASTIC_RUN_ID" not in os.environ:
            _start_for_each_gpu(arguments["gpus"], stage)
        parents = parent_digests(path for value in paths.values() for path in value)
        job = Job(
            settings=json.loads(arguments["settings"], object_hook=lambda item: SimpleNamespace(**item)),
            inputs=SimpleNamespace(**{n: v if n in lists else (v[0] if v else None) for n, v in paths.items()}),
            outputs=SimpleNamespace(**{name: arguments[f"{name}_to"] for name in outputs}),
            workers=arguments["workers"],
            fingerprint=fingerprint(arguments["settings"], arguments["code"], parents),
            save_every=arguments["save_every"],
            shard=arguments["shard"] or None,
            shards=tuple(arguments["shards"]),
        )
        main(job)
        stopping.ignore()  # it is done: recorded and not made again
    except UserError as error:
        sys.exit(f"error: {error}")
    except stopping.Stopped as stop:
        sys.exit(f"stopped: {stop}")
    except Exception as error:
        if reason := disk_fault(error):
            sys.exit(f"error: {not_written(_of(error) or arguments[f'{outputs[0]}_to'], reason)}")
        if place := plugins.place(error):
            traceback.print_exc()
            sys.exit(f"error: {place}: {type(error).__name__}: {one_line(error)}; correct this file")
        raise
    if not first:
        return
    seconds = time.perf_counter() - start
    modules = sorted(
        name.removeprefix("workflow_scripts.") for name in sys.modules if name.startswith("workflow_scripts.")
    )
    try:
        for path in vars(job.outputs).values():
            write_sidecar(path, stage, arguments["settings"], arguments["code"], parents, seconds, modules, job.shards)
    except UserError as error:
        sys.exit(f"error: {error}")
    print(f"{stage}: done in {seconds:.1f} s", flush=True)


def _of(error: BaseException) -> str | None:
    """The file that an error of the system is about."""
    return getattr(error, "filename", None)


def _start_for_each_gpu(count: int, stage: str) -> NoReturn:
    """Become torchrun, which starts this command again so many times on this machine."""
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
    command = [sys.executable, *launcher, "--module", f"workflow_scripts.stages.{stage}", *sys.argv[1:]]
    os.execv(sys.executable, command)


def fingerprint(settings: str, code: str, parents: Mapping[str, str]) -> str:
    """Digest of all that decides the bytes of a job's outputs, on one kind of machine."""
    content = "\n".join([settings, code, *(f"{path} {digest}" for path, digest in sorted(parents.items()))])
    return hashlib.sha256(content.encode()).hexdigest()
