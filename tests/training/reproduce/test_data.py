"""What a row's recipe takes over from the data that it is trained on."""

import json
import shutil

from hf_lesionseg.datasets.prepared import PreparedDataset
from hf_lesionseg.models.image_processing_lesion import LesionImageProcessor
from hf_lesionseg.training.recipe import load_recipe
from hf_lesionseg.training.reproduce.data import as_prepared


def test_true_dwi_alone_is_not_normalised_by_the_patterns_of_frames_and_maps(prepared, tmp_path):
    folder = shutil.copytree(prepared, tmp_path / "dwi")
    record = json.loads((folder / "dataset.json").read_text()) | {"channel_names": ["dwi"]}
    (folder / "dataset.json").write_text(json.dumps(record))
    LesionImageProcessor(channel_names=("dwi",), normalization="z-score").save_pretrained(folder)
    settings = as_prepared(load_recipe("egs-net-isles2018"), PreparedDataset(folder))
    processor = LesionImageProcessor(**settings)
    assert (processor.channel_names, processor.normalization) == (("dwi",), "z-score")
