"""The HDF5 store and the map over images: whole files or none, refusals in one line, equal bytes, any number of workers."""

import functools
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import h5py
import numpy as np
import pytest
from conftest import refused

from workflow_scripts.base.errors import UserError
from workflow_scripts.run.parallel import ordered_map
from workflow_scripts.store.artifacts import REOPEN_EVERY, Reader, create, replaced
from workflow_scripts.store.provenance import own_peak

ABOUT = {"dataset": "demo", "split": "train", "classes": ["cat", "dog"]}
PICTURE = np.random.default_rng(0).integers(0, 256, (40, 50), dtype=np.uint8)


def contents(number: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(number)
    return {
        "classes": np.array([0, 1], np.int16),
        "scores": rng.random((2, 30, 40)).astype(np.float16),
        "background": rng.random((3, 4)).astype(np.float16),
        "none": np.zeros((0, 5), np.float32),
    }


def write(path, images: int = 3, schema: str = "cam", **changes):
    with create(path, schema, **{**ABOUT, **changes}) as artifact:
        for number in range(images):
            artifact.put(f"image_{number:04d}", **contents(number))
    return path


# --- writing and reading ----------------------------------------------------------------------------------------------


def test_what_is_put_comes_back(tmp_path):
    reader = Reader(write(tmp_path / "new" / "a.h5"), "cam", dataset="demo")
    assert reader.ids == ["image_0000", "image_0001", "image_0002"]
    assert "image_0001" in reader and "image_0009" not in reader
    for number, identifier in enumerate(reader.ids):
        found, expected = reader.read(identifier), contents(number)
        assert found.keys() == expected.keys()
        for name, array in expected.items():
            assert found[name].dtype == array.dtype
            np.testing.assert_array_equal(found[name], array)


def test_attributes_say_what_the_file_holds(tmp_path):
    attributes = Reader(write(tmp_path / "a.h5"), "cam").attributes
    assert attributes == {"schema": "cam", "dataset": "demo", "split": "train", "classes": ["cat", "dog"], "images": 3}


def test_a_map_is_one_compressed_chunk_and_little_things_are_stored_plainly(tmp_path):
    with h5py.File(write(tmp_path / "a.h5")) as file:
        scores = file["image_0000/scores"]
        assert scores.chunks == scores.shape and scores.compression == "gzip" and scores.shuffle
        assert file["image_0000/background"].chunks is None


def test_arrays_of_any_memory_layout(tmp_path):
    with create(tmp_path / "a.h5", "mask", **ABOUT) as artifact:
        artifact.put("turned", label=PICTURE.T)
        artifact.put("mirrored", label=PICTURE[:, ::-1])
    reader = Reader(tmp_path / "a.h5", "mask")
    np.testing.assert_array_equal(reader.read("turned")["label"], PICTURE.T)
    np.testing.assert_array_equal(reader.read("mirrored")["label"], PICTURE[:, ::-1])


def test_equal_content_is_equal_bytes(tmp_path):
    one, two = write(tmp_path / "one.h5"), write(tmp_path / "other" / "two.h5")
    assert one.read_bytes() == two.read_bytes()
    assert write(tmp_path / "three.h5", images=2).read_bytes() != one.read_bytes()


def test_long_files_are_closed_and_opened_again_on_the_way(tmp_path):
    count = 2 * REOPEN_EVERY + 3
    with create(tmp_path / "a.h5", "mask", **ABOUT) as artifact:
        files = set()
        for number in range(count):
            artifact.put(f"{number:04d}", label=np.full((2, 2), number % 256, np.uint8))
            files.add(artifact._file)
    assert len(files) == 3
    reader = Reader(tmp_path / "a.h5", "mask")
    assert reader.attributes["images"] == count and len(reader.ids) == count
    files = set()
    for number, identifier in enumerate(reader.ids):
        assert (reader.read(identifier)["label"] == number % 256).all()
        files.add(reader._file)
    assert len(files) == 3


MEMORY = """
import sys
import numpy as np
from workflow_scripts.store.artifacts import Reader, create
from workflow_scripts.store.provenance import own_peak

label = np.zeros((96, 128), np.uint8)
with create(sys.argv[1], "mask", dataset="demo", split="train", classes=["cat"]) as artifact:
    for number in range(1000):
        artifact.put(str(number), label=label)
        if number == 100:
            print(own_peak())
print(own_peak())
reader = Reader(sys.argv[1], "mask")
for number in range(1000):
    reader.read(str(number))
print(own_peak())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for the peak")
def test_memory_does_not_grow_with_the_images(tmp_path):
    command = [sys.executable, "-c", MEMORY, str(tmp_path / "a.h5")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent.parent)
    few, written, read = map(int, done.stdout.split())
    assert written < 1.03 * few and read < 1.03 * few


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for the peak")
def test_the_peak_of_a_process_is_not_that_of_the_one_that_started_it():
    large = np.ones(300 << 20, np.uint8)
    command = [sys.executable, "-c", "from workflow_scripts.store.provenance import own_peak; print(own_peak())"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent.parent)
    assert 1 << 20 < int(done.stdout) < len(large) < own_peak()


# --- whole or not at all ----------------------------------------------------------------------------------------------


def test_an_error_on_the_way_leaves_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError), create(tmp_path / "a.h5", "mask", **ABOUT) as artifact:
        artifact.put("one", label=PICTURE)
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_an_error_on_the_way_keeps_the_old_file(tmp_path):
    before = write(tmp_path / "a.h5").read_bytes()
    with pytest.raises(ZeroDivisionError), create(tmp_path / "a.h5", "cam", **ABOUT) as artifact:
        artifact.put("one", label=PICTURE)
        raise ZeroDivisionError
    assert [path.name for path in tmp_path.iterdir()] == ["a.h5"]
    assert (tmp_path / "a.h5").read_bytes() == before


def test_the_name_appears_only_at_the_end(tmp_path):
    with create(tmp_path / "a.h5", "mask", **ABOUT) as artifact:
        artifact.put("one", label=PICTURE)
        assert not (tmp_path / "a.h5").exists()
        assert artifact.path.parent == tmp_path  # renaming is atomic within one folder only
    assert [path.name for path in tmp_path.iterdir()] == ["a.h5"]


def test_text_files_are_replaced_whole(tmp_path):
    path = tmp_path / "deep" / "a.csv"
    with replaced(path) as temporary:
        temporary.write_text("first\n")
    with pytest.raises(ZeroDivisionError), replaced(path) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "first\n" and [item.name for item in path.parent.iterdir()] == ["a.csv"]


# --- refusals ---------------------------------------------------------------------------------------------------------


def test_reader_refuses_what_it_was_not_asked_for(tmp_path):
    path = write(tmp_path / "a.h5")
    refused(lambda: Reader(path, "mask").ids, path, "'cam'", "expected 'mask'")
    refused(lambda: Reader(path, "cam", dataset="voc").ids, path, "'demo'", "expected 'voc'", "run again")
    refused(lambda: Reader(path, "cam").read("2007_000032"), path, "'2007_000032'", "run again")


def test_reader_refuses_a_file_of_someone_else(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = 1
    refused(lambda: Reader(tmp_path / "a.h5", "cam").ids, tmp_path / "a.h5", "no known content", "'cam'")


@pytest.mark.parametrize("damage", ["half", "empty", "text"])
def test_reader_refuses_a_damaged_file(tmp_path, damage):
    path = write(tmp_path / "a.h5")
    content = path.read_bytes()
    path.write_bytes({"half": content[: len(content) // 2], "empty": b"", "text": b"no HDF5\n" * 99}[damage])
    refused(lambda: Reader(path, "cam").read("image_0000"), path, "not a readable HDF5 file", "run again")


def test_reader_refuses_a_damaged_map(tmp_path):
    path = write(tmp_path / "a.h5")
    with h5py.File(path) as file:
        chunk = file["image_0001/scores"].id.get_chunk_info(0)
    with open(path, "r+b") as file:
        file.seek(chunk.byte_offset + 10)
        file.write(b"\xff" * 50)
    reader = Reader(path, "cam")
    reader.read("image_0000")
    refused(lambda: reader.read("image_0001"), path, "'image_0001'", "damaged")
    with pytest.raises(UserError) as kept:
        reader.read("image_0001")
    other = threading.Thread(target=Reader(path, "cam").read, args=("image_0000",), daemon=True)
    other.start()
    other.join(timeout=10)
    assert not other.is_alive(), f"a thread waits for what failed here: {kept}"


def test_reader_refuses_a_missing_file(tmp_path):
    reader = Reader(tmp_path / "a.h5", "cam")  # nothing is opened before it is used
    refused(lambda: reader.ids, tmp_path / "a.h5", "no such file", "snakemake")


# --- workers ----------------------------------------------------------------------------------------------------------


def total(reader: Reader, identifier: str) -> tuple[str, float]:
    return identifier, float(reader.read(identifier)["scores"].astype(np.float64).sum())


def process_of(state: int, item: int) -> tuple[int, int]:
    return os.getpid(), state * item


def fails_at_three(state: None, item: int) -> int:
    if item == 3:
        raise UserError(f"{item}: cannot be read; restore it")
    return item


def test_a_reader_travels_without_its_open_file(tmp_path):
    reader = Reader(write(tmp_path / "a.h5"), "cam", "demo")
    reader.read("image_0000")
    copy = pickle.loads(pickle.dumps(reader))  # noqa: S301
    assert copy._file is None and total(copy, "image_0001") == total(reader, "image_0001")


def test_workers_give_the_same_in_the_same_order(tmp_path):
    reader = Reader(write(tmp_path / "a.h5", images=12), "cam", "demo")
    ids = reader.ids[::-1]
    alone = list(ordered_map(functools.partial(pickle.loads, pickle.dumps(reader)), total, ids, 1))
    assert [identifier for identifier, _ in alone] == ids
    assert list(ordered_map(functools.partial(pickle.loads, pickle.dumps(reader)), total, ids, 2)) == alone


def test_workers_are_other_processes_and_one_worker_is_none(tmp_path):
    alone = list(ordered_map(functools.partial(int, 7), process_of, range(20), 1))
    assert alone == [(os.getpid(), 7 * item) for item in range(20)]
    spread = list(ordered_map(functools.partial(int, 7), process_of, range(20), 2))
    assert [value for _, value in spread] == [7 * item for item in range(20)]
    assert os.getpid() not in {process for process, _ in spread}


def test_items_are_drawn_as_they_are_needed():
    drawn = []

    def items():
        for item in range(1000):
            drawn.append(item)
            yield item

    results = ordered_map(functools.partial(int, 1), process_of, items(), 2)
    for _ in range(5):
        next(results)
    assert len(drawn) <= 8 + 5
    results.close()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_mistake_of_the_user_comes_through_the_workers(workers):
    results = ordered_map(functools.partial(bool), fails_at_three, range(50), workers)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    refused(lambda: next(results), "3: cannot be read; restore it")
    assert not [child for child in multiprocessing.active_children() if child.name.startswith("SpawnProcess")]


def missing_weights():
    raise UserError("cam.safetensors: no such weights; run snakemake to make them")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_mistake_found_before_the_first_item_comes_through_the_workers(workers, capfd):
    results = ordered_map(missing_weights, fails_at_three, range(50), workers)
    assert refused(lambda: next(results)) == "cam.safetensors: no such weights; run snakemake to make them"
    assert "Traceback" not in capfd.readouterr().err
    assert not [child for child in multiprocessing.active_children() if child.name.startswith("SpawnProcess")]


def torch_module():
    import torch

    return torch


def threads_of(state, item: int) -> int:
    return state.get_num_threads()


@pytest.mark.parametrize("workers", [1, 2])
def test_networks_compute_with_one_thread(monkeypatch, workers):
    """Threads decide bytes, and Snakemake sets these variables to the cores that a job got."""
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setenv("MKL_NUM_THREADS", "2")
    assert list(ordered_map(torch_module, threads_of, range(2), workers)) == [1, 1]
