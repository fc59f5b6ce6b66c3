"""`wsss export-network`: files that say what the network says, for images of any size, without this project."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from conftest import SOURCES
from PIL import Image
from small_images import noise
from small_segmenters import CLASSES, write_segmenter

from workflow_scripts.__main__ import main
from workflow_scripts.base.digests import file_sha256
from workflow_scripts.base.errors import UserError
from workflow_scripts.commands import export_network, predict
from workflow_scripts.look.pictures import PALETTE
from workflow_scripts.segmentation import exported

PHOTOGRAPHS = SOURCES / "../shared/data/voc-animals/VOCdevkit/VOC2012/JPEGImages"
SIZES = ((1, 1), (2, 300), (61, 8), (97, 130), (129, 65), (200, 200))


def export(weights, kind="onnx", *more):
    return main(["export-network", "--weights", str(weights), "--format", kind, *more])


@pytest.fixture(scope="module", params=[False, True], ids=["halves", "corners"])
def segmenter(tmp_path_factory, request):
    """Weights, and beside them the network as ONNX; with each way of enlargement."""
    path = write_segmenter(tmp_path_factory.mktemp("segmenter") / "fov.safetensors", align_corners=request.param)
    assert export(path) == 0
    return path


@pytest.fixture
def corners(segmenter):
    return predict.read_settings(segmenter).block.align_corners


def graph_of(weights):
    network = predict.open_network(weights)
    return exported.Graph(network.network, network.align_corners).eval()


def session_of(weights):
    return exported.open_onnx(weights.with_suffix(".onnx"), 1)


@pytest.mark.parametrize("size", SIZES)
def test_onnx_says_what_torch_says_at_any_size(segmenter, size):
    image = noise(*size).reshape(*size, 3)
    with torch.inference_mode():
        expected = graph_of(segmenter)(torch.from_numpy(image))
    found = session_of(segmenter).run(["logits", "probabilities"], {"image": image})
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=0, atol=1e-5 * max(1, float(theirs.abs().max())))
    assert found[1].shape == (4, *size)


def test_the_graph_is_what_predict_computes(segmenter, corners):
    """Pixels are normalised and logits enlarged as in `soft_prediction`, at a size that it does not change."""
    image = noise(65, 97)
    network = predict.open_network(segmenter).network
    options = predict.SimpleNamespace(
        scales=[1],
        flip=False,
        resize="antialiased",
        merge="mean",
        resolution=1,
        precision="float32",
        align_corners=corners,
    )
    found = session_of(segmenter).run(["probabilities"], {"image": image})[0]
    np.testing.assert_allclose(found, predict.soft_prediction(network, image, options), atol=1e-3)  # float16


def test_the_file_says_what_it_is(segmenter, corners):
    path = segmenter.with_suffix(".onnx")
    model = onnx.load(path)
    onnx.checker.check_model(model)
    about = {entry.key: json.loads(entry.value) for entry in model.metadata_props}
    assert about["classes"] == ["background", *CLASSES] and about["colours"] == PALETTE[:4].tolist()
    assert about["stride"] == 8 and about["align_corners"] is corners and about["dataset"] == "demo"
    assert about["weights"] == file_sha256(segmenter)
    (image,), (_, probabilities) = model.graph.input, model.graph.output
    shapes = [
        [size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim]
        for value in (image, probabilities)
    ]
    assert image.name == "image" and shapes == [["height", "width", 3], [4, "height", "width"]]
    content = path.read_bytes()
    assert not [text for text in (str(SOURCES), "site-packages", "workflow_scripts") if text.encode() in content]
    assert path.stat().st_size < segmenter.stat().st_size + 100_000


def test_predict_runs_it(segmenter, tmp_path):
    """With scales, mirror images and tiles: the labels of the weights."""
    (tmp_path / "photos").mkdir()
    Image.fromarray(noise(75, 130)).save(tmp_path / "photos/a.png")
    labels = {}
    for weights in (segmenter, segmenter.with_suffix(".onnx")):
        for more in (("--scales", "1", "0.6", "--flip"), ("--tile", "72", "--overlap", "32")):
            out = tmp_path / f"{weights.suffix}{len(labels)}"
            given = ["--weights", str(weights), "--images", str(tmp_path / "photos"), "--out", str(out)]
            assert main(["predict", *given, *more]) == 0
            labels[weights.suffix, more] = np.asarray(Image.open(out / "a.png"))
            assert (out / "classes.csv").read_text().splitlines()[1:3] == ["0,background,0,0,0", "1,cat,128,0,0"]
    for (_, more), label in labels.items():
        assert (label == labels[".safetensors", more]).mean() > 0.999 and len(np.unique(label)) > 1


def test_the_program_of_the_page_runs_alone(segmenter, tmp_path):
    """With nothing of this project in reach."""
    (program,) = re.findall(r"```python\n(.*?)```", (SOURCES / "docs/howto/onnx.md").read_text(), re.DOTALL)
    (tmp_path / "eps.onnx").write_bytes(segmenter.with_suffix(".onnx").read_bytes())
    Image.fromarray(noise(40, 70)).save(tmp_path / "photo.jpg")
    ran = subprocess.run(
        [sys.executable, "-I", "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    areas = ast.literal_eval(ran.stdout)
    assert sum(areas.values()) == 40 * 70 and set(areas) <= {"background", *CLASSES}
    assert len(program.strip().splitlines()) <= 11


def test_torch_s_file(tmp_path, capsys):
    weights = write_segmenter(tmp_path / "fov.safetensors")
    assert export(weights, "pt2", "--out", str(tmp_path / "a.pt2")) == 0
    told = capsys.readouterr().out
    assert len(re.findall(r"^\d+ x \d+ pixels: probabilities differ from torch's by \d\.\de", told, re.MULTILINE)) == 5
    about = {"classes": ""}
    module = torch.export.load(tmp_path / "a.pt2", extra_files=about).module()
    image = torch.from_numpy(noise(50, 33))
    torch.testing.assert_close(module(image), graph_of(weights)(image))
    assert json.loads(about["classes"]) == ["background", *CLASSES]
    assert str(SOURCES).encode() not in (tmp_path / "a.pt2").read_bytes()


# --- what is refused --------------------------------------------------------------------------------------------------


def test_a_file_that_differs_is_not_written(segmenter, tmp_path, monkeypatch, capsys):
    def wrong(graph, kind, path, about):
        path.write_text("")
        return lambda image: graph(torch.from_numpy(image))[1].detach().numpy() + 2e-4 * (image.shape[0] == 241)

    monkeypatch.setattr(export_network, "write_file", wrong)
    assert export(segmenter, "onnx", "--out", str(tmp_path / "a.onnx")) == 1
    assert "a.onnx: not written, as its probabilities differ from the network's by 2.0e-04" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_what_is_not_finite_or_of_another_size_differs():
    graph = lambda image: (None, torch.zeros(2, *image.shape[:2]))  # noqa: E731
    images = [noise()]
    assert export_network.differences(graph, lambda image: np.full((2, 20, 30), 0.5), images) == [0.5]
    for result in (np.full((2, 20, 30), np.nan), np.zeros((2, 20, 29))):
        assert export_network.differences(graph, lambda image, result=result: result, images) == [float("inf")]


def test_a_network_that_cannot_be_exported_is_one_line(segmenter, tmp_path, monkeypatch, capsys):
    """One that looks at the numbers of an image before it knows what to compute."""

    def forward(self, image):
        return (image, image) if image.sum() > 3 else (image, image * 2)

    monkeypatch.setattr(exported.Graph, "forward", forward)
    assert export(segmenter, "onnx", "--out", str(tmp_path / "a.onnx")) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "a network on 'tiny' cannot be exported (" in line and "predict with the weights themselves" in line
    assert not list(tmp_path.iterdir())


def test_files_that_are_no_exported_network(segmenter, tmp_path):
    (tmp_path / "a.onnx").write_text("no protobuf")
    with pytest.raises(UserError, match="a.onnx: onnxruntime cannot read it"):
        predict.open_network(tmp_path / "a.onnx")
    with pytest.raises(UserError, match="none.onnx: no such file"):
        predict.open_network(tmp_path / "none.onnx")
    model = onnx.load(segmenter.with_suffix(".onnx"))
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "b.onnx")
    with pytest.raises(UserError, match="b.onnx: not a network that `wsss export-network` wrote"):
        predict.open_network(tmp_path / "b.onnx")
    assert export(segmenter, "onnx", "--out", str(tmp_path / "c.pt2")) == 1


def test_five_photographs_have_sizes_of_their_own(tmp_path):
    for number in range(7):
        Image.fromarray(noise(20, 30 + 5 * max(0, number - 2))).save(tmp_path / f"{number}.png")
    assert [image.shape[1] for image in export_network.photographs(tmp_path)] == [30, 35, 40, 45, 50]
    for number in range(4, 7):
        (tmp_path / f"{number}.png").unlink()
    with pytest.raises(UserError, match="holds 4 images, 5 are compared"):
        export_network.photographs(tmp_path)


@pytest.mark.skipif(not PHOTOGRAPHS.is_dir(), reason="no photographs")
def test_photographs_of_five_sizes(segmenter):
    images = export_network.photographs(Path(PHOTOGRAPHS))
    session = session_of(segmenter)
    run = lambda image: session.run(["probabilities"], {"image": image})[0]  # noqa: E731
    assert len({image.shape for image in images}) == 5
    assert max(export_network.differences(graph_of(segmenter), run, images)) < 1e-4
