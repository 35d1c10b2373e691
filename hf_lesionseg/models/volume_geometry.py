"""How the voxel grid of a scan file maps to the stack of planes that a network sees, and back.

A file may store its axes in any of 48 orders and directions, oblique or sheared. Planes are always cut from the
canonical RAS+ arrangement of the array (no resampling: axes are permuted and flipped only), so that

========== =================== ========================= =========================
slice_axis slice ``k`` runs    row runs                  column runs
========== =================== ========================= =========================
axial      foot to head        posterior to anterior     left to right
coronal    posterior to        foot to head              left to right
           anterior
sagittal   left to right       foot to head              posterior to anterior
========== =================== ========================= =========================

and ``planes[k, row, column]`` of an axial stack equals ``canonical.transpose(2, 1, 0)``, as in the public ATLAS recipe.
Everything that was done is written in one :class:`SliceGeometry`, which is all that the way back needs.
"""

from dataclasses import asdict, dataclass, field, replace

import nibabel as nib
import numpy as np

#: canonical axes (0 = x, 1 = y, 2 = z) that become slice, row and column
PLANE_AXES = {"axial": (2, 1, 0), "coronal": (1, 2, 0), "sagittal": (0, 2, 1)}

#: resampled planes larger than this are a wrong spacing, not a scan
LARGEST_PLANE = 2048

#: share of the training spacing by which a plane's own may differ without being resampled
NEAR_SPACING = 0.05


class VolumeError(ValueError):
    """A volume cannot be turned into planes; the message names the volume and the remedy."""


@dataclass(frozen=True)
class SliceGeometry:
    """The path from one case's file grid to its planes.

    Parameters
    ----------
    shape : tuple of 3 int
        Voxels along the file's own axes.
    affine : tuple of 4 tuples of 4 float
        File voxel indices to world millimetres (RAS+).
    orientation : str
        Axis codes of the file, such as ``"LAS"``; see :func:`nibabel.aff2axcodes`.
    slice_axis : {"axial", "coronal", "sagittal"}
    plane_shape : tuple of 2 int
        Rows and columns of a canonical plane, before resampling.
    resampled_shape : tuple of 2 int
        Rows and columns after in-plane resampling; equals ``plane_shape`` where nothing was resampled. Both cover
        the same field of view, edge to edge, so nothing shifts.
    window_start : tuple of 2 int
        Row and column of the resampled plane at which the window begins; negative where the window pads.
    window_shape : tuple of 2 int
        Height and width of the window: the network's H and W.
    num_slices : int
    normalization : tuple of dict
        What was done to the intensities, one record per channel.
    warnings : tuple of str
        What the person who reads the mask should know.
    """

    shape: tuple[int, int, int]
    affine: tuple[tuple[float, float, float, float], ...]
    orientation: str
    slice_axis: str
    plane_shape: tuple[int, int]
    resampled_shape: tuple[int, int]
    window_start: tuple[int, int]
    window_shape: tuple[int, int]
    num_slices: int
    normalization: tuple[dict, ...] = field(default=())
    warnings: tuple[str, ...] = field(default=())

    @property
    def spacing(self):
        """Voxel size along the file's own axes in mm."""
        return tuple(float(size) for size in nib.affines.voxel_sizes(np.asarray(self.affine)))

    @property
    def voxel_ml(self):
        """Volume of a file voxel in mL; the determinant, so that a sheared grid counts right."""
        return abs(float(np.linalg.det(np.asarray(self.affine)[:3, :3]))) / 1000.0

    @property
    def plane_spacing(self):
        """Row and column distance of the planes that the network sees, in mm."""
        sizes = _canonical_spacing(np.asarray(self.affine), self.orientation)
        _, row, column = PLANE_AXES[self.slice_axis]
        return tuple(
            sizes[axis] * before / after
            for axis, before, after in zip((row, column), self.plane_shape, self.resampled_shape, strict=True)
        )

    @property
    def slice_spacing(self):
        """Distance from slice to slice in mm."""
        return _canonical_spacing(np.asarray(self.affine), self.orientation)[PLANE_AXES[self.slice_axis][0]]

    @property
    def file_slice_axis(self):
        """Axis of the file from slice to slice."""
        axes = nib.orientations.axcodes2ornt(self.orientation)[:, 0]
        return int(np.flatnonzero(axes == PLANE_AXES[self.slice_axis][0])[0])

    @property
    def is_resampled(self):
        """Whether planes were resampled in-plane."""
        return self.plane_shape != self.resampled_shape

    def to_dict(self):
        """Return plain lists, numbers and strings, ready for :func:`json.dumps`."""
        return _as_plain(asdict(self))

    @classmethod
    def from_dict(cls, record):
        """Rebuild from :meth:`to_dict`, exactly.

        Raises
        ------
        VolumeError
            If a field is missing or unknown.
        """
        known = set(cls.__dataclass_fields__)
        missing = known - set(record) - {"normalization", "warnings"}
        unknown = set(record) - known
        if missing or unknown:
            raise VolumeError(
                f"slice geometry with missing fields {sorted(missing)} and unknown fields {sorted(unknown)}: "
                "prepare this case again with the installed version"
            )
        values = dict(record)
        for name in ("shape", "plane_shape", "resampled_shape", "window_start", "window_shape"):
            values[name] = tuple(int(number) for number in values[name])
        values["affine"] = _affine_tuple(values["affine"])
        values["num_slices"] = int(values["num_slices"])
        for name in ("normalization", "warnings"):
            values[name] = tuple(values.get(name, ()))
        return cls(**values)


def plan_slices(shape, affine, *, slice_axis="axial", training_spacing=None, training_shape=None):
    """Describe the planes of a volume; the window is the whole plane.

    Parameters
    ----------
    shape : sequence of 3 int
    affine : array_like of shape (4, 4)
    slice_axis : {"axial", "coronal", "sagittal"}
    training_spacing : sequence of 2 float, optional
        Row and column distance in mm to resample planes to. The plane keeps its field of view, so the spacing is met
        up to half a pixel in the whole plane. Planes whose rows and columns are both within 5 % of it stay as they
        are: interpolation would smooth their noise, which changes them more than a size that is slightly off.
    training_shape : sequence of 2 int, optional
        Rows and columns to resample whole planes to instead, whatever their pixel size.

    Returns
    -------
    SliceGeometry

    Raises
    ------
    VolumeError
        For a volume that is not 3-D or is empty, an affine that is singular, an unknown slice axis.
    """
    shape = tuple(int(length) for length in shape)
    if len(shape) != 3 or min(shape) < 1:
        raise VolumeError(f"volume of shape {shape}: give three axes of at least one voxel each")
    if slice_axis not in PLANE_AXES:
        raise VolumeError(f"slice_axis {slice_axis!r} is unknown: choose one of {', '.join(PLANE_AXES)}")
    affine = check_affine(affine)
    orientation = "".join(nib.aff2axcodes(affine))
    to_canonical = nib.orientations.axcodes2ornt(orientation)
    canonical_shape = [0, 0, 0]
    for file_axis, canonical_axis in enumerate(to_canonical[:, 0].astype(int)):
        canonical_shape[canonical_axis] = shape[file_axis]
    slices, rows, columns = PLANE_AXES[slice_axis]
    plane_shape = (canonical_shape[rows], canonical_shape[columns])
    resampled_shape = plane_shape if training_shape is None else tuple(int(length) for length in training_shape)
    if training_spacing is not None:
        sizes = _canonical_spacing(affine, orientation)
        ratios = [sizes[axis] / float(target) for axis, target in zip((rows, columns), training_spacing, strict=True)]
        if not is_near_spacing(ratios):
            resampled_shape = tuple(
                max(1, round(length * ratio)) for length, ratio in zip(plane_shape, ratios, strict=True)
            )
            if max(resampled_shape) > LARGEST_PLANE:
                raise VolumeError(
                    f"training_spacing {tuple(training_spacing)} mm turns planes of {plane_shape} into "
                    f"{resampled_shape} pixels: check the voxel size in the file's header"
                )
    return SliceGeometry(
        shape=shape,
        affine=_affine_tuple(affine),
        orientation=orientation,
        slice_axis=slice_axis,
        plane_shape=plane_shape,
        resampled_shape=resampled_shape,
        window_start=(0, 0),
        window_shape=resampled_shape,
        num_slices=canonical_shape[slices],
    )


def is_near_spacing(ratios):
    """Tell whether planes keep their own pixels: each side over the training spacing within 5 % of 1."""
    # headers hold float32, so that 5 % itself is met up to rounding only
    return all(abs(ratio - 1.0) <= NEAR_SPACING + 1e-6 for ratio in ratios)


def with_window(geometry, start, shape):
    """Return the geometry with another crop or pad window.

    Parameters
    ----------
    geometry : SliceGeometry
    start : sequence of 2 int
        First row and column on the resampled plane, negative to pad before it.
    shape : sequence of 2 int
        Height and width.
    """
    start, shape = (tuple(int(number) for number in pair) for pair in (start, shape))
    if min(shape) < 1:
        raise VolumeError(f"window of shape {shape}: height and width must be at least 1")
    return replace(geometry, window_start=start, window_shape=shape)


def same_grid(shape, affine, other_shape, other_affine, *, tolerance=0.05):
    """Tell whether two volumes have the same voxels: shapes equal, corners at the same place.

    Parameters
    ----------
    tolerance : float
        Largest distance between corresponding corners, in fractions of the smallest voxel side; headers that went
        through float32 or a text file differ by far less, a shift by one voxel by far more.
    """
    if tuple(shape) != tuple(other_shape):
        return False
    return grid_distance(shape, affine, other_affine) <= tolerance * nib.affines.voxel_sizes(np.asarray(affine)).min()


def grid_distance(shape, affine, other_affine):
    """Largest distance in mm between corresponding corner voxels of two grids of the same shape."""
    corners = np.stack(np.meshgrid(*[(0, length - 1) for length in shape], indexing="ij"), -1).reshape(-1, 3)
    first, second = (nib.affines.apply_affine(np.asarray(matrix, float), corners) for matrix in (affine, other_affine))
    return float(np.linalg.norm(first - second, axis=1).max())


def check_affine(affine):
    """Return the affine as float64, or raise.

    Raises
    ------
    VolumeError
        If it is not 4 x 4, not finite, or singular (a direction is missing, or two coincide).
    """
    affine = np.asarray(affine, dtype=np.float64)
    if affine.shape != (4, 4):
        raise VolumeError(f"affine of shape {affine.shape}: give a 4 x 4 matrix from voxel indices to mm")
    if not np.isfinite(affine).all():
        raise VolumeError("affine has NaN or Inf: repair the header's sform or qform")
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    # relative to the voxel sizes, so that neither 0.01 mm nor 100 mm voxels look singular
    if sizes.min() == 0 or abs(np.linalg.det(affine[:3, :3] / sizes)) < 1e-4:
        raise VolumeError(
            f"affine is singular (voxel sizes {np.round(sizes, 6).tolist()} mm, axes that coincide or vanish): "
            "repair the header's sform or qform"
        )
    return affine


def _canonical_spacing(affine, orientation):
    sizes = nib.affines.voxel_sizes(affine)
    axes = nib.orientations.axcodes2ornt(orientation)[:, 0].astype(int)
    canonical = [0.0, 0.0, 0.0]
    for file_axis, canonical_axis in enumerate(axes):
        canonical[canonical_axis] = float(sizes[file_axis])
    return tuple(canonical)


def _affine_tuple(affine):
    return tuple(tuple(float(value) for value in row) for row in affine)


def _as_plain(value):
    if isinstance(value, dict):
        return {key: _as_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_as_plain(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value
