"""The state of a training that is under way, from which it goes on after it was killed."""

import hashlib
import mmap
from dataclasses import asdict
from pathlib import Path

import torch

from workflow_scripts.base.digests import file_sha256
from workflow_scripts.store.artifacts import replaced
from workflow_scripts.training.record import Record
from workflow_scripts.training.step import Step

DIGEST = hashlib.sha256().digest_size  # bytes at the end of the file


class State:
    """One file beside the weights, which no rule declares: Snakemake removes what is declared when a job fails.

    Args:
        output: path of the weights.
        fingerprint: of the job, `command.Job.fingerprint`; what was saved under another one is removed.
    """

    def __init__(self, output: str, fingerprint: str):
        self.path, self.fingerprint = Path(f"{output}.state"), fingerprint

    def save(self, iteration: int, step: Step, record: Record) -> None:
        """Replace what was saved before, by a file that is whole."""
        record.read()
        state = {
            "fingerprint": self.fingerprint,
            "iteration": iteration,
            "random": torch.get_rng_state(),
            "record": asdict(record),
        } | step.state_dict()
        if torch.cuda.is_available():
            state["random_cuda"] = torch.cuda.get_rng_state()
        with replaced(self.path) as temporary:
            with open(temporary, "wb") as file:
                torch.save(state, file)
            digest = bytes.fromhex(file_sha256(temporary))
            with open(temporary, "ab") as file:
                file.write(digest)

    def load(self, step: Step, record: Record) -> int:
        """Take over what was saved, if it is this job's; returns the iteration to go on with, else 0."""
        if not self.path.exists():
            return 0
        try:
            state = self._read()
            known = state.get("fingerprint") == self.fingerprint
            reason = "saved by other settings, code or inputs"
        except Exception:  # whatever is wrong with it, the job can start anew
            known, reason = False, "cannot be read"
        if not known:
            print(f"{self.path}: {reason}, starting from the beginning", flush=True)
            self.remove()
            return 0
        step.load_state_dict(state)
        torch.set_rng_state(state["random"])
        if torch.cuda.is_available() and "random_cuda" in state:
            torch.cuda.set_rng_state(state["random_cuda"])
        vars(record).update(state["record"])
        print(f"resumed at iteration {state['iteration']}", flush=True)
        return state["iteration"]

    def _read(self) -> dict:
        """What was saved, if its bytes are still those: torch itself does not notice changed numbers."""
        size = self.path.stat().st_size - DIGEST
        with open(self.path, "rb") as file, mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) as saved:
            file.seek(size)
            if hashlib.sha256(saved).digest() != file.read():
                raise ValueError("other bytes than were saved")
            return torch.load(saved, map_location="cpu", weights_only=True)

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
