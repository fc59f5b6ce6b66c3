"""The table of costs: sizes of networks as published, and what sidecars hold."""

import json
from types import SimpleNamespace

import pandas as pd
import pytest
from conftest import refused

from workflow_scripts.config.planning.plan import Plan
from workflow_scripts.config.resolve import Config
from workflow_scripts.run.command import Job
from workflow_scripts.stages import cost
from workflow_scripts.store.artifacts import create
from workflow_scripts.store.provenance import read_sidecar, sidecar_path, write_sidecar

VOC = [str(number) for number in range(20)]


def namespace(value):
    return json.loads(json.dumps(value), object_hook=lambda item: SimpleNamespace(**item))


@pytest.fixture(scope="module")
def networks() -> dict[str, dict]:
    """Networks of the job's settings for two published systems, by kind and name."""
    config = Config.load()
    names = ("semantic_modulation_affinity_resnet38", "eps_resnet38_v2")
    data = config.datasets["voc"].model_copy(update={"systems": names})
    config.datasets["voc"] = data
    settings = Plan(config).job("cost", {"dataset": "voc"}).settings
    return {f"{item['kind']} {item['name']}": item for system in settings["systems"] for item in system["networks"]}


# Measured on the published networks: millions of parameters, billions of multiply-adds of a training crop.
SIZES = {
    "classifier mctformer_v2": (21.749, 5.1, 224),
    "classifier eps_resnet38": (105.16, 399.3, 448),
    "affinity semantic_modulation_resnet38": (106.48, 403.5, 448),
    "segmenter deeplab_v1_resnet38": (124.04, 244.5, 321),
}


@pytest.mark.parametrize(("name", "expected"), SIZES.items(), ids=SIZES)
def test_sizes_of_published_networks(networks, name, expected):
    item = networks[name]
    network = cost.build(item["kind"], namespace(item["block"]), VOC)
    millions, billions, side = expected
    assert item["side"] == side
    assert cost.parameters(network) / 1e6 == pytest.approx(millions, abs=0.0101)
    assert cost.multiply_adds(network, side) / 1e9 == pytest.approx(billions, rel=0.02)


def test_the_table_holds_what_sidecars_say(networks, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, images in (("weights.h5", 1), ("cams.h5", 3)):
        with create(name, "cam", dataset="voc", split="train", classes=VOC) as artifact:
            for number in range(images):
                artifact.put(str(number))
        write_sidecar(name, "cams", "{}", "0", {}, 1800.0, [])
        assert read_sidecar(name)["memory_mib"]["process"] > 10
    item = networks["classifier mctformer_v2"] | {"trained": "weights.h5", "used": "cams.h5"}
    system = {"name": "mine", "networks": [item], "artifacts": ["weights.h5", "cams.h5"]}
    settings = namespace({"dataset": "voc", "classes": VOC, "systems": [system]})
    job = Job(settings, SimpleNamespace(artifacts=[]), SimpleNamespace(cost="cost.csv"), 1, "")
    cost.main(job)
    network, everything = pd.read_csv("cost.csv").to_dict("records")
    assert (network["network"], network["block"], network["hours"]) == ("classifier", "mctformer_v2", 0.5)
    assert network["images_per_second"] == pytest.approx(3 / 1800, rel=1e-3) and network["memory_mib"] > 10
    assert (everything["network"], everything["hours"]) == ("all jobs", 1.0)
    sidecar_path("weights.h5").unlink()
    refused(lambda: cost.main(job), "weights.h5.json", "make it again")
