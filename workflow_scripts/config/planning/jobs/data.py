"""Jobs that make a data set: archives, rendered scenes, index, truth, checks; and initial weights from the network."""

from workflow_scripts.base.errors import UserError
from workflow_scripts.config.planning.context import Context
from workflow_scripts.config.planning.outputs import output_path
from workflow_scripts.config.planning.registry import Job, job, on_request
from workflow_scripts.config.resolve import order_splits


@job("weights")
def weights(plan: Context, file: str) -> Job:
    for item in plan.config.downloads():
        if item.file == file:
            return Job({}, {"url": item.url, "sha256": item.sha256})
    raise UserError(f"config: no block's initial is downloaded to data/weights/{file}")


@job("archives")
def archives(plan: Context, archive: str) -> Job:
    block = plan.config.archive(archive)
    if block.url is None:
        raise UserError(f"config: archives.{archive}.url: null, as it is not fetched; set its path to a local copy")
    return Job({}, {"archive": archive, "url": block.url, "checksum": block.checksum})


@job("unpack")
def unpack(plan: Context, archive: str) -> Job:
    block = plan.config.archive(archive)
    settings = {"archive": archive} | block.model_dump(include={"path", "checksum", "members", "unpacked"})
    return Job({"archive": [] if block.path else output_path("archives", archive=archive)}, settings)


@job("render")
def render(plan: Context, dataset: str) -> Job:
    data = plan.dataset(dataset)
    counts = {name: split.images for name, split in data.splits.items() if split.images}
    if data.limit:
        counts = {name: min(count, data.limit) for name, count in counts.items()}
    settings = {"dataset": dataset, "seed": data.seed, "images": counts, "classes": list(data.classes)}
    return Job({}, settings, ("data.synthetic.synthetic",))


@job("index")
def index(plan: Context, dataset: str) -> Job:
    data = plan.dataset(dataset)
    names = order_splits(data.splits, f"datasets.{dataset}")
    settings, modules = plan.reading(dataset, "images")
    settings |= {
        "splits": {name: data.splits[name].model_dump() for name in names},
        "split_order": names,
        "limit": data.limit,
    }
    return Job({"images": plan.images(dataset), "archives": plan.manifests(dataset)}, settings, modules)


@job("truth")
def truth(plan: Context, dataset: str) -> Job:
    settings, modules = plan.reading(dataset, "truth")
    inputs = {"index": plan.index(dataset), "rendered": plan.rendered(dataset), "archives": plan.manifests(dataset)}
    return Job(inputs, settings | {"splits": plan.truth_splits(dataset)}, modules)


@job("checks")
def checks(plan: Context, dataset: str) -> Job:
    data = plan.dataset(dataset)
    inputs: dict = {"index": plan.index(dataset), "images": plan.images(dataset)}
    inputs["findings"] = [output_path("index", output="findings", dataset=dataset)]
    if data.has_truth():
        inputs["truth"] = output_path("truth", dataset=dataset)
        inputs["findings"].append(output_path("truth", output="findings", dataset=dataset))
    settings = {"dataset": dataset, "train": data.use.train, "evaluation": list(data.use.evaluation)}
    return Job(inputs, settings)


@on_request
def _requested(plan: Context, dataset: str) -> list[str]:
    return [output_path("checks", dataset=dataset)]
