"""SBD's MATLAB files: the label map, and one line for what is wrong with a file."""

import io

import numpy as np
import pytest
from conftest import refused
from scipy.io import savemat
from small_archives import mat, sbd_label

from workflow_scripts.data.readers.sbd import read_label_mat
from workflow_scripts.data.readers.voc_masks import VOC_CLASSES, mask_ids

ALL = mask_ids(VOC_CLASSES)


def test_ids_become_classes(tmp_path):
    path = tmp_path / "x.mat"
    path.write_bytes(mat(sbd_label(0)))
    label = read_label_mat(path, ALL)
    assert label.dtype == np.uint8
    np.testing.assert_array_equal(label, sbd_label(0))
    np.testing.assert_array_equal(read_label_mat(path, mask_ids(["dog", "cat"])), np.where(sbd_label(0) > 0, 2, 0))


def saved(**content) -> bytes:
    file = io.BytesIO()
    savemat(file, content)
    return file.getvalue()


GOOD = mat(sbd_label(1))
BROKEN = {
    "empty": b"",
    "text": b"no MATLAB file" * 20,
    "truncated": GOOD[:-40],
    "header only": GOOD[:128],
    "damaged": GOOD[:200] + bytes(40) + GOOD[240:],
    "HDF5 (version 7.3)": GOOD[:124] + b"\x00\x02IM" + GOOD[128:],
    "another variable": saved(GTinst={"Segmentation": sbd_label(0)}),
    "no struct": saved(GTcls=np.zeros((3, 3))),
    "another field": saved(GTcls={"Boundaries": np.zeros((3, 3))}),
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_broken_files(tmp_path, content):
    path = tmp_path / "x.mat"
    path.write_bytes(content)
    refused(lambda: read_label_mat(path, ALL), path, "GTcls.Segmentation")


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (np.zeros((2, 3), float), "of type float64"),
        (np.zeros((2, 3, 4), np.uint8), "3-dimensional"),
        (np.full((2, 3), 21, np.uint8), "label id 21 is none of the 20 classes"),
        (np.full((2, 3), 255, np.uint8), "label id 255"),
        (np.full((2, 3), -1, np.int16), "label id -1"),
    ],
)
def test_other_content(tmp_path, label, message):
    path = tmp_path / "x.mat"
    path.write_bytes(mat(label) if label.dtype != np.int16 else saved(GTcls={"Segmentation": label}))
    refused(lambda: read_label_mat(path, ALL), path, message)


def test_missing(tmp_path):
    refused(lambda: read_label_mat(tmp_path / "x.mat", ALL), tmp_path / "x.mat", "missing")
