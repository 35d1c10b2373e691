"""Mutated NIfTI files through the reader and `segment`: a typed error or a right result, never a crash or a hang.

    python scripts/fuzz_nifti.py --count 10000

Header bytes and fields, truncation, faults of gzip and of voxels, by a fixed seed: file N of a seed is always the same,
so that ``--first N --count 1 --keep FOLDER`` brings one back. In this process, by a tiny network, without previews.
"""

import argparse
import gzip
import logging
import resource
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

import nibabel as nib
import numpy as np
import torch

from hf_lesionseg import CLCINetConfig, CLCINetForSemanticSegmentation, LesionImageProcessor
from hf_lesionseg.errors import LesionSegError
from hf_lesionseg.imaging import read_scan
from hf_lesionseg.inference import LoadedModel, segment_cases
from hf_lesionseg.models.volume_geometry import VolumeError

SECONDS_PER_FILE, SECONDS_IN_ALL, MEGABYTES = 20, 3600, 1500
TYPED = (LesionSegError, VolumeError)
ODD_NUMBERS = (0, 1, -1, 2, 7, 255, 1e-30, 1e9, 1e30, -1e30, np.nan, np.inf, -np.inf, 32767, -32768, 0.5)
_GEOMETRY = ("pixdim", "qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y",
             "qoffset_z", "srow_x", "srow_y", "srow_z", "xyzt_units")  # fmt: skip


def tiny_model():
    """An untrained network that computes a slice in milliseconds."""
    torch.manual_seed(0)
    model = CLCINetForSemanticSegmentation(CLCINetConfig(base_width=2, aspp_dilations=(1, 2, 3))).eval()
    return LoadedModel(model, LesionImageProcessor(training_spacing=(4.0, 4.0)), "tiny")


def base_files():
    """What is mutated: name and plain bytes (header and voxels) of small heads in several forms of NIfTI."""
    shape = (17, 20, 9)
    places = np.indices(shape)
    middle = np.array(shape) / 2
    inside = sum(((p - m) / (m - 2)) ** 2 for p, m in zip(places, middle, strict=True)) < 1
    head = np.where(inside, np.random.default_rng(0).uniform(100, 900, shape), 0)
    affine = nib.affines.from_matvec(nib.eulerangles.euler2mat(0.1, -0.2, 0.05) @ np.diag([-4.0, 5, 9]), [20, -30, 10])
    found = []
    for name, kind, dtype, order in (
        ("int16.nii", nib.Nifti1Image, np.int16, "<"),
        ("int16.nii.gz", nib.Nifti1Image, np.int16, "<"),
        ("float32.nii.gz", nib.Nifti1Image, np.float32, "<"),
        ("big_endian.nii", nib.Nifti1Image, np.int16, ">"),
        ("two.nii.gz", nib.Nifti2Image, np.uint16, "<"),
    ):
        array = head.astype(np.dtype(dtype).newbyteorder(order))
        header = kind.header_class(endianness=order)
        image = kind(array, affine, header)
        image.set_qform(affine, 1)
        image.set_sform(affine, 1)
        image.header.set_xyzt_units("mm")
        found.append((name, image.to_bytes()))
    return found


def mutate(name, content, rng):
    """Return the kind of a mutation and the bytes of the mutated file."""
    zipped = name.endswith(".gz")
    size = 540 if content[4:8] == b"n+2\0" else 348
    kinds = ["header bytes", "header field", "truncation", "voxels"] + 2 * ["gzip"] * zipped
    kind = kinds[rng.integers(len(kinds))]
    content = bytearray(content)
    if kind == "header bytes":
        for position in rng.integers(size, size=rng.integers(1, 6)):
            content[position] = rng.integers(256)
    elif kind == "header field":
        _set_field(content, size, rng)
    elif kind == "truncation" and not zipped:
        del content[rng.integers(len(content)) :]
    elif kind == "voxels":
        start = rng.integers(size, len(content))
        content[start : start + 64] = rng.bytes(min(64, len(content) - start))
    if not zipped:
        return kind, bytes(content)
    packed = bytearray(gzip.compress(bytes(content), 1, mtime=0))
    if kind == "truncation":
        del packed[rng.integers(len(packed)) :]
    elif kind == "gzip":
        kind = f"gzip: {_damage_gzip(packed, rng)}"
    return kind, bytes(packed)


def _set_field(content, size, rng):
    """Set one number of a header field, or all of them, to an odd one."""
    little = int.from_bytes(content[:4], "little") == size
    template = (nib.Nifti1Header if size == 348 else nib.Nifti2Header).template_dtype
    header = np.frombuffer(bytes(content[:size]), template if little else template.newbyteorder()).copy()
    names = [name for name in header.dtype.names if header.dtype[name].base.kind in "iuf"]
    field = header[names[rng.integers(len(names))]].reshape(-1)
    chosen = slice(None) if rng.random() < 0.2 else rng.integers(field.size)
    value = ODD_NUMBERS[rng.integers(len(ODD_NUMBERS))]
    if field.dtype.kind in "iu":
        limits = np.iinfo(field.dtype)
        value = min(max(int(np.nan_to_num(value)), limits.min), limits.max)  # floats round 2^63 - 1 up
    with np.errstate(all="ignore"):
        field[chosen] = value
    content[:size] = header.tobytes()


def _damage_gzip(packed, rng):
    fault = ("flipped byte", "checksum", "length", "header", "tail", "second member", "zeros")[rng.integers(7)]
    if fault == "flipped byte":
        packed[rng.integers(10, len(packed) - 8)] ^= 1 << int(rng.integers(8))
    elif fault in ("checksum", "length"):
        packed[-8 if fault == "checksum" else -4] ^= 0xFF
    elif fault == "header":
        packed[rng.integers(2, 10)] = rng.integers(256)
    elif fault == "tail":
        packed += rng.bytes(40)
    elif fault == "second member":
        packed += gzip.compress(rng.bytes(100), mtime=0)
    else:
        packed[len(packed) // 2 :] = bytes(len(packed) - len(packed) // 2)
    return fault


class Fuzz:
    """Mutated files of one seed, each written, read and segmented in a folder of its own."""

    def __init__(self, folder, seed=0):
        self.folder, self.seed = Path(folder), seed
        self.bases, self.loaded = base_files(), tiny_model()
        self.counts = Counter()
        self.slowest, self.last = 0.0, "failed"
        self.masks = {}
        for name, content in self.bases:
            path = self._write(name, gzip.compress(content, 1) if name.endswith(".gz") else content)
            (outcome,) = segment_cases(
                [path], self.loaded, self.folder / "out", preview=False, existing="overwrite"
            ).outcomes
            if outcome.status != "done":
                raise RuntimeError(f"{name} itself fails: {outcome.reason}")
            scan = read_scan(path)
            self.masks[name] = scan.data, scan.affine, np.asarray(nib.load(outcome.files["mask"]).dataobj)

    def run(self, number):
        """Run one file; returns what is wrong with how it went, or None."""
        rng = np.random.default_rng([self.seed, number])
        name, content = self.bases[rng.integers(len(self.bases))]
        kind, mutated = mutate(name, content, rng)
        path = self._write(name, mutated)
        start = time.monotonic()
        signal.signal(signal.SIGALRM, _too_long)
        signal.alarm(SECONDS_PER_FILE)
        try:
            wrong = self._check(name, path)
        except TimeoutError:
            wrong = f"took more than {SECONDS_PER_FILE} s"
        # a typed error was expected, so that any other is the finding
        except Exception as error:
            wrong = f"{type(error).__name__}: {error}"
        finally:
            signal.alarm(0)
        self.slowest = max(self.slowest, time.monotonic() - start)
        self.counts[kind, "wrong" if wrong else self.last] += 1
        return wrong and f"file {number} ({name}, {kind}): {' '.join(str(wrong).split())}"

    def _write(self, name, content):
        path = self.folder / name
        path.write_bytes(content)
        return path

    def _check(self, name, path):
        try:
            scan = read_scan(path)
        except TYPED as error:
            scan, refusal = None, str(error)
            if "\n" in refusal or str(path) not in refusal:
                return f"the error is no line that names the file: {refusal!r}"
        (outcome,) = segment_cases(
            [path], self.loaded, self.folder / "out", preview=False, existing="overwrite"
        ).outcomes
        self.last = outcome.status
        if outcome.status == "failed":
            if isinstance(outcome.error, TimeoutError):
                raise outcome.error
            if not isinstance(outcome.error, TYPED):
                return f"{type(outcome.error).__name__}: {outcome.reason}"
            return None
        if scan is None:
            return f"segmented, although the reader refuses it: {refusal}"
        return _wrong_values(path, scan) or self._wrong_mask(name, path, scan, outcome)

    def _wrong_mask(self, name, path, scan, outcome):
        image = nib.load(outcome.files["mask"])
        mask = np.asarray(image.dataobj)
        if mask.shape != scan.shape or not np.isin(mask, (0, 1)).all():
            return f"mask of shape {mask.shape} and values {np.unique(mask)} for a scan of {scan.shape}"
        for field in _GEOMETRY:
            ours, theirs = (
                np.asarray(header[field]) for header in (read_scan(outcome.files["mask"]).header, scan.header)
            )
            if not np.array_equal(ours, theirs, equal_nan=True) and field != "pixdim":
                return f"{field} of the mask is {ours}, of the scan {theirs}"
        if not np.isclose(outcome.total_volume_ml, mask.sum() * scan.voxel_ml, rtol=1e-6):
            return f"{outcome.total_volume_ml} mL for {mask.sum()} voxels of {scan.voxel_ml} mL"
        data, affine, expected = self.masks[name]
        same = np.array_equal(scan.data, data) and np.array_equal(scan.affine, affine)
        if same and not np.array_equal(mask, expected):
            return "another mask than that of the same voxels in the file as it was"
        return None


def _header_of(path, kind):
    """The header as it is, none of nibabel's repairs applied."""
    with gzip.open(path) as stream:
        return kind.from_fileobj(stream, check=False)


def _wrong_values(path, scan):
    """The voxels by nibabel alone, where it reads the file at all."""
    try:
        stored = np.asarray(nib.load(path).dataobj)
    except (nib.spatialimages.HeaderDataError, nib.filebasedimages.ImageFileError, OSError, EOFError, ValueError):
        return None
    with np.errstate(all="ignore"):
        expected = stored.astype(np.float32).reshape(scan.shape)
    expected = np.where(np.isfinite(expected), expected, 0)
    return None if np.array_equal(expected, scan.data) else "voxels differ from what nibabel reads"


def _too_long(*_):
    raise TimeoutError


def main(arguments=None):
    """Run files and print what was found; returns 1 where one went wrong or a limit was passed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000, help="files")
    parser.add_argument("--first", type=int, default=0, help="number of the first file")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for the files that went wrong")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    torch.set_num_threads(1)
    started, wrong = time.monotonic(), []
    with tempfile.TemporaryDirectory() as folder:
        fuzz = Fuzz(folder, options.seed)
        for number in range(options.first, options.first + options.count):
            found = fuzz.run(number)
            if found:
                wrong.append(found)
                print("wrong:", found, flush=True)
                if options.keep:
                    options.keep.mkdir(parents=True, exist_ok=True)
                    name = found.split("(")[1].split(",")[0]
                    shutil.copy(fuzz.folder / name, options.keep / f"{number}_{name}")
    seconds = time.monotonic() - started
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 / (1024 if sys.platform == "darwin" else 1)
    for (kind, outcome), count in sorted(fuzz.counts.items()):
        print(f"{kind:24} {outcome:8} {count}")
    print(
        f"{options.count} files, {len(wrong)} wrong, {seconds:.0f} s, slowest {fuzz.slowest:.1f} s, {megabytes:.0f} MB"
    )
    return int(bool(wrong) or seconds > SECONDS_IN_ALL or megabytes > MEGABYTES)


if __name__ == "__main__":
    sys.exit(main())
