"""The files of a generated head: scan, mask and record, as in BIDS."""

import gzip
import json

import nibabel as nib

from ....imaging.atomic import replace_folder_aside

__all__ = ["write_head"]


def write_head(folder, name, scan, truth, affine, record, *, description):
    """Write ``folder / name / anat`` as a whole; equal heads give equal bytes.

    Parameters
    ----------
    folder : Path
    name : str, such as "sub-0001"
    scan, truth : arrays (X, Y, Z)
    affine : (4, 4), mm
    record : dict, for the JSON file beside the scan
    description : bytes, of the NIfTI headers
    """
    with replace_folder_aside(folder / name) as aside:
        anat = aside / "anat"
        anat.mkdir()
        for kind, array in (("T1w", scan), ("label-lesion_mask", truth)):
            image = nib.Nifti1Image(array, affine)
            image.header.set_xyzt_units("mm")
            image.header["descrip"] = description
            path = anat / f"{name}_{kind}.nii.gz"
            with path.open("wb") as file, gzip.GzipFile("", "wb", 1, file, mtime=0) as stream:
                stream.write(image.to_bytes())
        (anat / f"{name}_T1w.json").write_text(json.dumps(record, indent=2) + "\n")
