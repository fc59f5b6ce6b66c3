"""What the stages of instance segmentation read; all of it is made on request."""

from workflow_scripts.base.errors import UserError
from workflow_scripts.config.planning import instance_systems
from workflow_scripts.config.planning.data_jobs import Job
from workflow_scripts.config.planning.jobs import StageJobs, network_modules
from workflow_scripts.config.planning.outputs import output_path
from workflow_scripts.config.types import datasets
from workflow_scripts.config.types.instance_blocks import TrueInstances


class InstanceJobs(StageJobs):
    """The jobs of instance masks, of the networks that learn from them, and of the table of mask AP."""

    def instance_truth(self, dataset: str) -> Job:
        data = self._dataset(dataset)
        settings = {"dataset": dataset, "kind": data.kind, "classes": list(data.classes)}
        settings["splits"] = self._true_instance_splits(dataset)
        inputs: dict = {"index": self._index_path(dataset), "rendered": [], "archives": self._manifests(dataset)}
        modules: tuple[str, ...] = ()
        if isinstance(data, datasets.SyntheticDataset):
            inputs["rendered"] = output_path("render", output="truth", dataset=dataset)
        elif isinstance(data, datasets.CocoDataset):
            settings |= {"root": data.root, "files": data.instances_files()}
            modules = ("data.kinds.coco_instances",)
        elif isinstance(data, datasets.VocDataset) and data.objects and data.masks:
            settings |= {"root": data.root, "masks": data.masks, "objects": data.objects, "sbd": data.sbd}
            settings["mask_ids"] = data.mask_ids
            modules = ("data.kinds.voc_instances",)
        else:
            reason = "objects is null" if data.kind == "voc" else f"kind {data.kind!r} has none"
            raise UserError(
                f"config: datasets.{dataset}: there are no true instances to read ({reason}); drop what is scored by them"
            )
        settings["sources"] = self._digest(dataset, "instances")
        return Job(inputs, settings, modules)

    def _true_instance_splits(self, dataset: str) -> list[str]:
        """Splits that instances or detections are scored on, and that a network learns from their truth."""
        data = self._dataset(dataset)
        found = {instance_systems.scored_split(self.config, dataset), *data.scored_evaluation()}
        for system in instance_systems.named(self.config, dataset):
            block = self.config.block(dataset, "instances", system.instances)
            if isinstance(block, TrueInstances) and instance_systems.trains(self.config, dataset, system.network):
                found.add(data.use.train)
        return sorted(found)

    def instances(self, dataset: str, seed: str, instances: str) -> Job:
        block = self.config.block(dataset, "instances", instances)
        settings: dict = {"dataset": dataset, "block": block.model_dump(exclude={"mask"})}
        settings["splits"] = instance_systems.splits(self.config, dataset, seed, instances)
        inputs: dict = {"index": self._index_path(dataset), "masks": [], "truth": []}
        if isinstance(block, TrueInstances):
            inputs["truth"] = output_path("instance_truth", dataset=dataset)
            known = self._true_instance_splits(dataset)
            settings["splits"] = [split for split in settings["splits"] if split in known]
            return Job(inputs, settings)
        inputs["masks"] = output_path("masks", dataset=dataset, seed=seed, mask=block.mask)
        made = self._mask_splits(dataset, seed, block.mask)
        settings["splits"] = [split for split in settings["splits"] if split in made]
        return Job(inputs, settings, ("refine.instances", "data.boxes"))

    def coco_json(self, dataset: str, seed: str, instances: str) -> Job:
        inputs = {
            "index": self._index_path(dataset),
            "instances": output_path("instances", dataset=dataset, seed=seed, instances=instances),
        }
        return Job(inputs, {"dataset": dataset, "kind": self._dataset(dataset).kind})

    def precision_instances(self, dataset: str, seed: str, instances: str) -> Job:
        path = output_path("instances", dataset=dataset, seed=seed, instances=instances)
        return self._precision(dataset, path, [instance_systems.scored_split(self.config, dataset)])

    def train_instances(self, dataset: str, seed: str, instances: str, network: str) -> Job:
        data, block = self._dataset(dataset), self.config.block(dataset, "instance_networks", network)
        modules = (f"instance_segmentation.{block.network}", *network_modules(block))
        if block.trained:
            job = self._imported(dataset, block, {"instances": []}, modules)
            job.settings["block"].pop("finding")
            return job
        made = self.instances(dataset, seed, instances)
        if data.use.train not in made.settings["splits"]:
            raise UserError(
                f"config: datasets.{dataset}: no instance system trains a network on instances {instances!r} with seed {seed}; "
                "list one that does"
            )
        inputs = {
            "index": self._index_path(dataset),
            "images": self._images(dataset),
            "instances": output_path("instances", dataset=dataset, seed=seed, instances=instances),
            "initial": self._initial_path(dataset, seed, block.initial),
        }
        settings = {"block": block.model_dump(exclude={"trained", "finding"}), "seed": int(seed)}
        settings |= self._training(dataset, data) | {"split": data.use.train}
        settings["initial_digest"] = self._initial(dataset, block.initial)
        return Job(inputs, settings, modules)

    def detections(self, dataset: str, seed: str, instances: str, network: str) -> Job:
        data, block = self._dataset(dataset), self.config.block(dataset, "instance_networks", network)
        names = {"dataset": dataset, "seed": seed, "instances": instances, "network": network}
        inputs = {"index": self._index_path(dataset), "images": self._images(dataset)}
        inputs["weights"] = output_path("train_instances", **names)
        settings = {"dataset": dataset, "splits": list(data.use.evaluation)}
        settings["block"] = block.model_dump(exclude={"initial", "trained", "recipe", "frame"})
        return Job(inputs, settings, (f"instance_segmentation.{block.network}", *network_modules(block)))

    def precision_detections(self, dataset: str, seed: str, instances: str, network: str) -> Job:
        names = {"dataset": dataset, "seed": seed, "instances": instances, "network": network}
        return self._precision(
            dataset, output_path("detections", **names), list(self._dataset(dataset).scored_evaluation())
        )

    def _precision(self, dataset: str, artifact: str, splits: list[str]) -> Job:
        inputs = {"index": self._index_path(dataset), "artifact": artifact}
        inputs["truth"] = output_path("instance_truth", dataset=dataset)
        return Job(inputs, {"dataset": dataset, "splits": splits})

    def mask_ap(self, dataset: str) -> Job:
        data = self._dataset(dataset)
        if not data.instance_systems:
            raise UserError(f"config: datasets.{dataset}.instance_systems: none to tabulate; list at least one")
        rows = [row for system in data.instance_systems for row in instance_systems.rows(self.config, dataset, system)]
        scores = list(dict.fromkeys(path for row in rows for path in row["scores"]))
        return Job({"scores": scores}, {"classes": list(data.classes), "rows": rows})

    def of_instances(self, dataset: str) -> list[str]:
        """The table of mask AP, and the masks of boxes as COCO's JSON."""
        data = self._dataset(dataset)
        named = dict.fromkeys(system.instances for system in instance_systems.named(self.config, dataset))
        files = [
            output_path("coco_json", dataset=dataset, seed=str(seed), instances=name)
            for name in named
            for seed in data.seeds
        ]
        return [output_path("mask_ap", dataset=dataset), *files] if named else []
