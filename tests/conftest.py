"""What holds for every test."""

import signal
from pathlib import Path

import numpy as np
import pytest

# A shell starts background jobs with Ctrl-C ignored, and processes hand that on; several tests send it on purpose.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """Seven people, one scan each of 20x24x6 voxels with a bright noisy block as its lesion."""
    import nibabel as nib

    from hf_lesionseg.datasets.prepared.records import CaseRecord, Origin
    from hf_lesionseg.datasets.prepared.splits import make_splits, save_splits
    from hf_lesionseg.datasets.prepared.writing import prepare_cases
    from hf_lesionseg.models.image_processing_lesion import LesionImageProcessor

    folder = tmp_path_factory.mktemp("tiny")
    generator = np.random.default_rng(0)
    records = []
    for index in range(7):
        image = generator.uniform(20, 60, (20, 24, 6)).astype(np.float32)
        mask = np.zeros(image.shape, np.uint8)
        mask[4 + index : 9 + index, 6:13, 1:4] = 1
        image[mask > 0] += 35
        paths = []
        for kind, data in (("T1w", image), ("mask", mask)):
            paths.append(folder / f"p{index}_{kind}.nii.gz")
            nib.save(nib.Nifti1Image(data, np.diag([1, 1, 2, 1])), paths[-1])
        records.append(CaseRecord(id=f"p{index}", person=f"p{index}", images={"t1w": paths[0]}, masks=[paths[1]]))
    processor = LesionImageProcessor(
        size={"height": 32, "width": 32}, normalization="fixed-range", intensity_range=(0, 100)
    )
    dataset = prepare_cases(records, folder / "prepared", processor, Origin("tiny", synthetic=True))
    save_splits(
        folder / "prepared" / "splits.json",
        make_splits(dataset.cases, {"train": 4, "validation": 2, "test": 1}, seed=0),
    )
    return folder / "prepared"


@pytest.fixture(scope="session")
def write_slice():
    """Return a function that writes one DICOM slice of CT: 0.8 mm between rows, 0.7 mm between columns."""
    pytest.importorskip("pydicom", reason='DICOM files need pydicom: pip install "hf-lesionseg[dicom]"')

    def write(path, stored, number, position, *, slope=1, intercept=-1024, series="1.2.3", **tags):
        """Write one CT slice; ``stored`` is (rows, columns), ``tags`` are set, or left out where None."""
        from pydicom.dataset import FileDataset, FileMetaDataset
        from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
        data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
        data.Modality, data.SeriesInstanceUID, data.InstanceNumber = "CT", series, number
        data.Rows, data.Columns = stored.shape
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 0
        data.PixelSpacing = [0.8, 0.7]
        data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        data.ImagePositionPatient = [float(value) for value in position]
        data.RescaleSlope, data.RescaleIntercept = slope, intercept
        data.PixelData = np.ascontiguousarray(stored, np.uint16).tobytes()
        for name, value in tags.items():
            if value is None:
                delattr(data, name)
            else:
                setattr(data, name, value)
        path.parent.mkdir(parents=True, exist_ok=True)
        data.save_as(path, enforce_file_format=True)

    return write


@pytest.fixture(scope="session")
def isles22_0009():
    """Folder of a real case of ISLES 2022, which is not in the repository: dwi, adc, flair and msk as ``.nii.gz``."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data" / "isles22_0009"
    if not (folder / "msk.nii.gz").is_file():
        pytest.skip(f"needs case 0009 of ISLES 2022 in {folder}; see https://github.com/ezequieldlrosa/isles22")
    return folder
