"""What the gallery reads: the artifacts of the stages of chosen systems, each a column of it."""

import hashlib

from workflow_scripts.base.digests import file_sha256
from workflow_scripts.base.errors import UserError
from workflow_scripts.config.fingerprint import ROOT
from workflow_scripts.config.planning import sources, systems
from workflow_scripts.config.planning.jobs import Job, StageJobs
from workflow_scripts.config.planning.outputs import output_path
from workflow_scripts.config.types import datasets
from workflow_scripts.config.types.parts import nearest

SCHEMAS = {"saliency": "saliency", "cams": "cam", "masks": "mask", "predictions": "prediction"}
KINDS = {
    "saliency": ["saliency"],
    "cams": ["cam"],
    "masks": ["mask"],
    "predictions": ["mask", "segmenter", "prediction"],
}
PAGE = ROOT / "look" / "gallery" / "page"  # the files of the page, which are code but no Python


def page_digest() -> str:
    """Digest of the names and contents of the page's own files."""
    files = sorted(path for path in PAGE.iterdir() if path.is_file())
    return hashlib.sha256("".join(f"{path.name}:{file_sha256(path)}\n" for path in files).encode()).hexdigest()[:32]


class GalleryJobs(StageJobs):
    """The job of the gallery; `requested.AllJobs` adds the others that are made on request."""

    def gallery(self, dataset: str) -> Job:
        data = self._dataset(dataset)
        block = data.gallery
        if block is None:
            raise UserError(
                f"config: datasets.{dataset}.gallery: missing; say what it shows, as 'gallery: {{images: 200, side: 500}}'"
            )
        columns, splits = self._gallery_columns(dataset, block), self._gallery_splits(dataset, block)
        maps = [column for column in columns if column["stage"] == "cams"]
        scored = sources.has_truth(data)
        thresholds = [column["names"] for column in maps] if scored and data.use.thresholds else []
        inputs = {
            "index": self._index_path(dataset),
            "images": self._images(dataset),
            "truth": output_path("truth", dataset=dataset) if scored else [],
            "artifacts": [output_path(column["stage"], **column["names"]) for column in columns],
            "thresholds": [output_path("thresholds", **names) for names in thresholds],
        }
        for column in columns:
            del column["names"]
        settings = {"dataset": dataset, "columns": columns, "splits": splits, "images": block.images}
        settings |= {"side": block.side, "threshold": data.threshold, "page": page_digest()}
        return Job(inputs, settings)

    def _gallery_columns(self, dataset: str, block: datasets.Gallery) -> list[dict]:
        """Artifacts of the systems, those of one stage side by side, each once; `systems` names whose it is."""
        found: dict[tuple, dict] = {}
        for system in block.systems or self._dataset(dataset).systems:
            for stage, names in systems.chain(self.config, dataset, system):
                if stage not in SCHEMAS:
                    continue
                name = "/".join(names[kind] for kind in KINDS[stage])
                column = {"stage": stage, "schema": SCHEMAS[stage], "name": name, "names": names, "systems": []}
                column["refined"] = self._is_refined(dataset, stage, names)
                found.setdefault((stage, name), column)["systems"].append(system)
        return sorted(found.values(), key=lambda column: list(SCHEMAS).index(column["stage"]))

    def _is_refined(self, dataset: str, stage: str, names: dict[str, str]) -> bool:
        """Whether a CRF or a walk has refined a mask or a prediction."""
        if stage not in {"masks", "predictions"}:
            return False
        block = self.config.block(dataset, stage, names[KINDS[stage][-1]])
        return bool(getattr(block, "crf", None) or getattr(block, "affinity", None))

    def _gallery_splits(self, dataset: str, block: datasets.Gallery) -> list[str]:
        data = self._dataset(dataset)
        for split in block.splits or ():
            if split not in data.splits:
                raise UserError(
                    f"config: datasets.{dataset}.gallery.splits: no split {split!r}, {nearest(split, data.splits)}"
                )
        return list(dict.fromkeys(block.splits or (data.use.masks, *data.use.evaluation)))
