"""``import hf_lesionseg`` fills transformers' factories, whatever is imported first, and costs next to nothing."""

import subprocess
import sys

import pytest

CHECK = """
from transformers import AutoConfig, AutoModel, AutoModelForSemanticSegmentation
from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING
from transformers.pipelines import PIPELINE_REGISTRY
config = AutoConfig.for_model("clci-net", base_width=2)
for factory in (AutoModel, AutoModelForSemanticSegmentation):
    assert type(factory.from_config(config)).__name__ == "CLCINetForSemanticSegmentation"
assert "LesionImageProcessor" in str(IMAGE_PROCESSOR_MAPPING[type(config)])
assert "lesion-segmentation" in PIPELINE_REGISTRY.get_supported_tasks()
"""


def python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_import_is_light():
    heavy = ["torch", "transformers", "huggingface_hub", "numpy", "nibabel", "scipy", "matplotlib"]
    done = python(f"import sys, hf_lesionseg; print([name for name in {heavy} if name in sys.modules])")
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


@pytest.mark.parametrize(
    "first",
    [
        "import hf_lesionseg",
        "from hf_lesionseg.models.modeling_clci_net import CLCINetForSemanticSegmentation",
        "import hf_lesionseg; from transformers.modeling_layers import GradientCheckpointingLayer",
        pytest.param(
            "from hf_lesionseg.models.modeling_coarse_to_fine import CoarseToFineForSemanticSegmentation",
            marks=pytest.mark.slow,
        ),
        "from hf_lesionseg.models.resnet_decoder import UNetDecoder",
        pytest.param(
            "from transformers import AutoModel, AutoImageProcessor, pipeline; import hf_lesionseg",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "import hf_lesionseg; from transformers import PreTrainedModel; import hf_lesionseg.inference.pipeline",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "import hf_lesionseg; from importlib.util import find_spec; "
            "assert find_spec('transformers.models.auto.modeling_auto')",
            marks=pytest.mark.slow,
        ),
        pytest.param("from hf_lesionseg import LesionImageProcessor", marks=pytest.mark.slow),
        pytest.param("import transformers.pipelines, hf_lesionseg", marks=pytest.mark.slow),
    ],
)
def test_any_order_of_imports(first):
    done = python(first + CHECK)
    assert done.returncode == 0, done.stderr


def test_public_names_resolve():
    done = python(
        "import hf_lesionseg as package\n"
        "assert [getattr(package, name) for name in package.__all__]\n"
        "assert package.ops.backend()\n"
        "try:\n    package.nonsense\nexcept AttributeError as error:\n    assert 'nonsense' in str(error)\n"
        "else:\n    raise SystemExit('resolved')"
    )
    assert done.returncode == 0, done.stderr
