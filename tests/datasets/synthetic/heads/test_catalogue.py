import json
import tarfile
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from hf_lesionseg.datasets.synthetic.heads.catalogue import SPLITS, HeadCatalogue, build_catalogue
from hf_lesionseg.datasets.synthetic.heads.tissues import LABELS, PARENCHYMA, Tissue, tissues_of_labels
from hf_lesionseg.errors import DataError, UsageError


def test_nobody_is_in_two_splits(catalogue):
    homes = {}
    for entry in [*catalogue.record["anatomies"], *catalogue.record["masks"]]:
        homes.setdefault(entry["person"], set()).add(entry["split"])
    assert all(len(splits) == 1 for splits in homes.values())
    for split in SPLITS:
        assert {anatomy.kind for anatomy in catalogue.of(split)} == {"labels", "head", "brain"}
        assert any(record["split"] == split for record in catalogue.record["masks"])


def test_masks_keep_their_volume_and_place(catalogue):
    record = next(each for each in catalogue.record["masks"] if each["id"].endswith("sub-4_lesion"))
    mask = catalogue.masks.read(record)
    # a ball of radius 14 around (28, -4, 14), in MNI space
    assert record["volume_ml"] == pytest.approx(4 / 3 * np.pi * 14**3 / 1000, rel=0.02)
    assert mask.sum() == round(record["volume_ml"] * 1000)
    centre = np.argwhere(mask).mean(0) + record["origin"]
    np.testing.assert_allclose(centre, (28, -4, 14), atol=0.01)


def test_licences_come_from_options_and_are_unknown_otherwise(catalogue):
    assert catalogue.licences() == {"labels": "CC0-1.0", "t1w": "unknown", "stripped": "unknown",
                                    "lesions.tar": "unknown"}  # fmt: skip


def test_tissues_of_a_real_scan_are_those_it_was_painted_with(catalogue, painted_head):
    anatomy = catalogue.of("fit", "head")[0]
    number = int(anatomy.id.removeprefix("head-sub-").removesuffix("_T1w"))
    labels = painted_head(number + 6)
    tissue = np.asarray(anatomy.tissue)
    for found, painted in ((Tissue.WHITE, 2), (Tissue.VENTRICLE, 4)):
        assert (tissue == found).sum() == pytest.approx((labels == painted).sum(), rel=0.3)
    assert (tissue == Tissue.OUTSIDE).sum() > 0.5 * (labels > 500).sum()
    csf, cortex, white = anatomy.means
    assert white == pytest.approx(110)
    assert csf < cortex < white


def test_a_second_call_keeps_what_is_there(head_sources, catalogue):
    path = catalogue.folder / "anatomy" / catalogue.anatomies[0].id / "tissue.npy"
    before = path.stat().st_mtime_ns
    again = build_catalogue(head_sources, catalogue.folder, progress=False)
    assert path.stat().st_mtime_ns == before
    assert again.fingerprint == catalogue.fingerprint


def test_unknown_labels_are_named():
    labels = np.full((3, 3, 3), 2)
    labels[0, 0, 0], labels[0, 0, 1] = 999, 77
    with pytest.raises(DataError, match=r"map\.nii.*no tissue stands for \(999\)"):
        tissues_of_labels(labels, "map.nii")
    labels[0, 0, 0] = 0
    assert tissues_of_labels(labels, "map.nii")[0, 0, 1] == Tissue.CAP


def test_label_maps_without_white_matter_are_refused():
    with pytest.raises(DataError, match="no white matter"):
        tissues_of_labels(np.full((3, 3, 3), 24), "map.nii")


def test_strokes_destroy_brain_only():
    assert not PARENCHYMA[[LABELS[label] for label in (0, 4, 24, 43, 511, 515)]].any()
    assert PARENCHYMA[[LABELS[label] for label in (2, 3, 8, 10, 16, 41)]].all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: {"lesions": [_tar(path / "empty.tar", {})]}, r"empty\.tar: holds no lesion masks"),
        (lambda path: {"lesions": [_tar(path / "grid.tar", {"a.nii": np.diag([2.0, 2, 2, 1])})]}, "another grid"),
        (lambda path: {"lesions": []}, "no lesion masks are given"),
        (lambda path: {"labels": [], "heads": [], "brains": []}, "no anatomies are given"),
    ],
)
def test_bad_sources_are_refused_by_name(head_sources, tmp_path, change, message):
    changed = replace(head_sources, heads=[], brains=[], **{}) if "heads" not in change(tmp_path) else head_sources
    with pytest.raises((DataError, UsageError), match=message):
        build_catalogue(replace(changed, **change(tmp_path)), tmp_path / "catalogue", progress=False)


def test_a_head_without_a_brain_is_refused(head_sources, head_files, tmp_path):
    pytest.importorskip("SimpleITK")
    masks = tmp_path / "masks"
    masks.mkdir()
    for path in (head_files / "masks").iterdir():
        image = nib.load(path)
        nib.save(nib.Nifti1Image(np.zeros(image.shape, np.uint8), image.affine), masks / path.name)
    sources = replace(head_sources, labels=[], brains=[], brain_masks=masks)
    with pytest.raises(DataError, match=r"mask\.nii\.gz: is empty"):
        build_catalogue(sources, tmp_path / "catalogue", progress=False)


def test_the_same_file_twice_is_refused(head_sources, head_files, tmp_path):
    copy = tmp_path / "other.nii.gz"
    copy.write_bytes((head_files / "labels" / "map_0.nii.gz").read_bytes())
    sources = replace(head_sources, labels=[head_files / "labels", copy], heads=[], brains=[])
    with pytest.raises(DataError, match="the same bytes"):
        build_catalogue(sources, tmp_path / "catalogue", progress=False)


def test_a_damaged_catalogue_is_named(catalogue, tmp_path):
    with pytest.raises(DataError, match=r"catalogue\.json: cannot be read"):
        HeadCatalogue(tmp_path)
    (tmp_path / "catalogue.json").write_text(json.dumps({"version": 0}))
    with pytest.raises(DataError, match="another version"):
        HeadCatalogue(tmp_path)


def _tar(path, members):
    with tarfile.open(path, "w") as archive:
        for name, matrix in members.items():
            file = path.parent / name
            nib.save(nib.Nifti1Image(np.ones((9, 9, 9), np.uint8), matrix), file)
            archive.add(file, name)
    return path
