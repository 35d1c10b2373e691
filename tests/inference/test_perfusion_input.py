"""Networks of CT perfusion on what a scanner gives: maps, a raw 4-D series, or some of both."""

import json
import shutil

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from hf_lesionseg.datasets.synthetic.perfusion.generate import generate_perfusion
from hf_lesionseg.errors import GridMismatchError, ScanError, UsageError
from hf_lesionseg.imaging.perfusion.channels import FIRST_PASS_NAMES, MAP_NAMES
from hf_lesionseg.inference import MaskOptions, SeriesOptions, load_model, segment_cases
from hf_lesionseg.inference.case_input import parse_case
from hf_lesionseg.inference.perfusion_input import read_case
from hf_lesionseg.inference.pipeline import LesionSegmentationPipeline
from hf_lesionseg.models.image_processing_lesion import LesionImageProcessor
from hf_lesionseg.testing.networks import tiny_model
from hf_lesionseg.training.recipe import load_recipe

FRAMES = tuple(f"ctp_{number:02d}" for number in range(11))
CHANNELS = {"ms-dcnn": MAP_NAMES, "egs-net": (*FRAMES, "cbf", "cbv", "mtt", "tmax", "pwimax_o", "pwimax_p")}


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    """A generated case of 64 x 64 x 2 voxels and 40 frames in the layout of ISLES 2018."""
    pytest.importorskip("nilearn")
    folder = tmp_path_factory.mktemp("generated") / "source"
    generate_perfusion(folder, patients=1, seed=1, size=64, num_slices=2, num_frames=40, progress=False)
    return folder / "TRAINING" / "case_1"


@pytest.fixture(scope="module", params=sorted(CHANNELS))
def network(request, tmp_path_factory):
    """A small untrained network of this type, loaded from its folder."""
    folder = tmp_path_factory.mktemp(request.param)
    tiny_model(request.param).eval().save_pretrained(folder)
    normalization = load_recipe(f"{request.param}-isles2018").processor["normalization"]
    processor = LesionImageProcessor(channel_names=CHANNELS[request.param], normalization=normalization)
    processor.save_pretrained(folder)
    return load_model(folder)


def file_of(case, kind):
    (path,) = case.rglob(f"SMIR.Brain.XX.O.{kind}.*.nii")
    return path


@pytest.fixture
def series(case):
    return file_of(case, "CT_4DPWI")


def read(text, channel_names, **options):
    return read_case(parse_case(text).files(channel_names), channel_names, **options)


def altered(path, source, change):
    """Copy of a scan with other values or shape."""
    image = nib.load(source)
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(change(np.asarray(image.dataobj)), image.affine), path)
    return path


def test_maps_made_of_a_series_are_those_of_the_file(case, series):
    found = read(series, MAP_NAMES)
    assert list(found.scans) == list(MAP_NAMES)
    scale = {"cbf": 10, "cbv": 10, "mtt": 1, "tmax": 1}  # integers of a vendor's unit in the files
    for name, kind in (("tmax", "Tmax"), ("cbf", "CBF"), ("cbv", "CBV"), ("mtt", "MTT")):
        of_file = np.asarray(nib.load(file_of(case, f"CT_{kind}")).dataobj, np.float64)
        np.testing.assert_allclose(
            scale[name] * found.scans[name].data, of_file, atol=0.51 if scale[name] > 1 else 1e-4
        )
    assert found.sources == {"ctp": (64, 64, 2, 40)}


def test_frames_are_those_that_the_record_names(series):
    names = (*FRAMES, "pwimax_o", "pwimax_p")
    found = read(series, names)
    data = np.asarray(nib.load(series).dataobj, np.float32)
    told = found.perfusion["first_pass"]
    assert told["onset"] < told["peak"] < told["end"]
    assert (told["sampled_frames"][0], told["sampled_frames"][-1]) == (told["onset"], told["end"])
    for name, frame in zip(FRAMES, told["sampled_frames"], strict=True):
        np.testing.assert_array_equal(found.scans[name].data, data[..., int(frame)])
    np.testing.assert_array_equal(found.scans["pwimax_o"].data, data.max(axis=-1))
    assert "arterial_input" not in found.perfusion, "without maps nothing is deconvolved"


def test_the_arterial_input_is_where_the_record_says(series):
    found = read(series, ("tmax",))
    image = nib.load(series)
    told = found.perfusion["arterial_input"]
    curves = np.asarray(image.dataobj, np.float64)[tuple(np.transpose(told["voxels"]))]
    rise = curves.mean(axis=0) - curves[:, : told["baseline_frames"]].mean()
    assert rise.max() == pytest.approx(told["peak_hu"], abs=0.1)
    assert rise.argmax() == told["peak_seconds"]
    centre = nib.affines.apply_affine(image.affine, np.mean(told["voxels"], axis=0))
    np.testing.assert_allclose(told["centre_mm"], centre, atol=0.01)
    assert "first_pass" not in found.perfusion


def test_given_maps_win_and_a_mixture_is_told(series, tmp_path):
    tmax = altered(tmp_path / "tmax.nii.gz", series, lambda data: data[..., 3].astype(np.float32))
    shutil.copy(series, tmp_path / "p_ctp.nii")
    found = read(tmp_path, MAP_NAMES)
    np.testing.assert_array_equal(found.scans["tmax"].data, np.asarray(nib.load(tmax).dataobj))
    assert found.perfusion["channels"] == ["cbf", "cbv", "mtt"]
    assert found.sources == {"tmax": (64, 64, 2), "ctp": (64, 64, 2, 40)}
    assert "cbf, cbv, mtt made from this series, tmax given" in found.warnings[-1]


def test_a_whole_case_of_isles_2018_needs_its_series_for_frames_only(case):
    maps = parse_case(case).files(MAP_NAMES)
    assert [path.name.split(".")[4] for path in maps.values()] == ["CT_Tmax", "CT_CBF", "CT_CBV", "CT_MTT"]
    files = parse_case(case).files(CHANNELS["egs-net"])
    assert list(files) == ["cbf", "cbv", "mtt", "tmax", "ctp"]
    found = read(case, CHANNELS["egs-net"])
    assert list(found.scans) == list(CHANNELS["egs-net"])
    assert set(found.perfusion["channels"]) == set(FIRST_PASS_NAMES)
    assert found.warnings == ()


def test_maps_of_other_software_than_the_training_maps_are_told(case, series, tmp_path):
    tiny_model("ms-dcnn").save_pretrained(tmp_path)
    LesionImageProcessor(channel_names=MAP_NAMES, normalization="z-score").save_pretrained(tmp_path)
    cbf = altered(tmp_path / "cbf.nii.gz", file_of(case, "CT_CBF"), lambda data: data)  # without our description

    def told(text, **config):
        settings = json.loads((tmp_path / "config.json").read_text()) | config
        (tmp_path / "config.json").write_text(json.dumps(settings))
        (outcome,) = segment_cases([text], tmp_path, tmp_path / "out", existing="overwrite").outcomes
        return [warning for warning in outcome.warnings if "trained on" in warning]

    maps = {name: path for name, path in parse_case(case).files(MAP_NAMES).items()} | {"cbf": cbf}
    assert told({"ctp": series}) == told(maps) == [], "of a network that does not say"
    assert told({"ctp": series}, perfusion_maps=["hf_lesionseg"]) == []
    (one,) = told(maps)
    assert "cbf made by other software, while the network was trained on maps made by hf_lesionseg" in one
    (made,) = told({"ctp": series}, perfusion_maps=["other software"])
    assert "tmax, cbf, cbv, mtt made by hf_lesionseg, while" in made


def test_maps_are_made_in_the_given_brain_only(series, tmp_path):
    def half(data):
        mask = np.zeros(data.shape[:3], np.uint8)
        mask[12:52, 10:54] = data[12:52, 10:54, :, 0] > 0
        return mask

    brain = altered(tmp_path / "brain.nii.gz", series, half)
    found = read(f"ctp={series},brain={brain}", MAP_NAMES)
    inside = np.asarray(nib.load(brain).dataobj) > 0
    assert not found.scans["cbv"].data[~inside].any()
    assert (found.scans["cbv"].data[inside] > 0).mean() > 0.5
    shifted = altered(tmp_path / "other.nii.gz", brain, lambda mask: mask[:60])
    with pytest.raises(GridMismatchError, match=r"other\.nii\.gz: shape \(60, 64, 2\)"):
        read(f"ctp={series},brain={shifted}", MAP_NAMES)


def test_the_frame_time_scales_times_and_flow(series):
    once, slower = read(series, MAP_NAMES), read(series, MAP_NAMES, frame_seconds=2.0)
    assert (once.perfusion["frame_seconds"], slower.perfusion["frame_seconds"]) == (1.0, 2.0)
    tissue = once.scans["mtt"].data > 0
    assert np.median(slower.scans["mtt"].data[tissue] / once.scans["mtt"].data[tissue]) > 1.5


def test_both_networks_segment_a_raw_series(network, series, tmp_path):
    run = segment_cases([series], network, tmp_path / "masks", series=SeriesOptions(frame_seconds=1.0))
    assert run.exit_status == 0, run.outcomes
    files = run.outcomes[0].files
    mask, image = nib.load(files["mask"]), nib.load(series)
    assert mask.shape == (64, 64, 2)
    np.testing.assert_array_equal(mask.affine, image.affine)
    record = json.loads(files["record"].read_text())
    assert [(each["channel"], each["shape"]) for each in record["inputs"]] == [("ctp", [64, 64, 2, 40])]
    assert record["perfusion"]["channels"] == list(network.processor.channel_names)
    assert record["perfusion"]["arterial_input"]["voxels"]
    assert record["processor"]["normalization"] == network.processor.normalization
    assert record["settings"]["frame_seconds"] == 1.0
    kept = segment_cases(
        [series], network, tmp_path / "masks", series=SeriesOptions(frame_seconds=1.0), existing="keep"
    )
    assert kept.outcomes[0].status == "kept"
    other = segment_cases(
        [series], network, tmp_path / "masks", series=SeriesOptions(frame_seconds=0.5), existing="keep"
    )
    assert "from another scan, network or settings" in other.outcomes[0].reason


def test_a_doubted_order_of_frames_is_taken_where_it_is_vouched_for(network, series, tmp_path):
    backwards = altered(tmp_path / "ctp.nii", series, lambda data: np.ascontiguousarray(data[..., ::-1]))
    failed = segment_cases([backwards], network, tmp_path / "masks")
    assert "--trust-frame-order" in failed.failed[0].reason
    run = segment_cases([backwards], network, tmp_path / "masks", series=SeriesOptions(trust_frame_order=True))
    assert run.exit_status == 0
    record = json.loads((tmp_path / "masks" / "ctp_record.json").read_text())
    assert record["settings"]["trust_frame_order"] is True


def test_the_pipeline_takes_series_and_folders_too(network, series, case, tmp_path):
    segmenter = LesionSegmentationPipeline(model=network.model, image_processor=network.processor)
    raw = segmenter(str(series), return_probability=True)
    written = segment_cases([series], network, tmp_path / "masks").outcomes[0].files["mask"]
    np.testing.assert_array_equal(raw["mask"], np.asarray(nib.load(written).dataobj))
    assert raw["perfusion"]["channels"] == list(network.processor.channel_names)
    of_maps = segmenter(case, return_probability=True)
    by_name = segmenter({"ctp": series}, return_probability=True)
    np.testing.assert_array_equal(by_name["probability"], raw["probability"])
    # the files' CBF and CBV are rounded to a tenth
    np.testing.assert_allclose(of_maps["probability"], raw["probability"], atol=0.01)


def test_both_networks_segment_maps_and_say_nothing_of_a_series(network, case, tmp_path):
    run = segment_cases([case], network, tmp_path / "masks")
    assert run.exit_status == 0, run.outcomes
    record = json.loads(run.outcomes[0].files["record"].read_text())
    if network.processor.channel_names == MAP_NAMES:
        assert record["perfusion"] is None
    assert [each["channel"] for each in record["inputs"]][:4] == list(
        parse_case(case).files(network.processor.channel_names)
    )[:4]


def test_the_median_filter_can_be_asked_for_and_is_recorded(network, series, tmp_path):
    outcomes = {}
    threshold = float(
        np.median(
            LesionSegmentationPipeline(model=network.model, image_processor=network.processor)(
                series, return_probability=True
            )["probability"]
        )
    )
    for size in (0, 5):
        run = segment_cases(
            [series], network, tmp_path / str(size), mask=MaskOptions(threshold=threshold, median_filter=size)
        )
        files = run.outcomes[0].files
        assert json.loads(files["record"].read_text())["settings"]["median_filter"] == size
        outcomes[size] = np.asarray(nib.load(files["mask"]).dataobj)
    expected = ndimage.median_filter(outcomes[0], (5, 5, 1), mode="constant")
    np.testing.assert_array_equal(outcomes[5], expected)
    assert (outcomes[5] != outcomes[0]).any()


def test_gaps_and_an_axis_of_length_one_are_read_with_a_warning(network, series, tmp_path):
    def damage(data):
        data = data.astype(np.float32)
        data[30, 30, 0, 12] = np.nan
        data[31, 30, :, :] = np.inf
        return data[:, :, :, None, :]

    odd = altered(tmp_path / "ctp.nii.gz", series, damage)
    run = segment_cases([odd], network, tmp_path / "masks")
    assert run.exit_status == 0, run.outcomes
    told = " ".join(run.outcomes[0].warnings)
    assert "81 NaN or Inf values filled" in told
    assert "shape (64, 64, 2, 1, 40) read as (64, 64, 2, 40)" in told
    assert nib.load(run.outcomes[0].files["mask"]).shape == (64, 64, 2)


def test_a_pair_of_series_in_one_folder_is_no_guess(series, tmp_path):
    for name in ("a.nii", "b.nii"):
        shutil.copy(series, tmp_path / name)
    with pytest.raises(ScanError, match=r"a\.nii and b\.nii could both be channel ctp"):
        parse_case(tmp_path).files(MAP_NAMES)
    shutil.move(tmp_path / "b.nii", tmp_path / "SMIR.CT_4DPWI.7.nii")
    assert parse_case(tmp_path).files(MAP_NAMES) == {"ctp": tmp_path / "SMIR.CT_4DPWI.7.nii"}


def test_a_series_is_no_channel_of_other_networks(series):
    with pytest.raises(UsageError, match="'ctp' is not a channel of this network, which has t1w, flair"):
        parse_case(f"ctp={series}").files(("t1w", "flair"))
