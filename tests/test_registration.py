"""``import hf_lesionseg`` fills transformers' factories, whatever is imported first, and costs next to nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import hf_lesionseg
from hf_lesionseg.models import loadable
from hf_lesionseg.testing.networks import tiny_model

PACKAGE = Path(hf_lesionseg.__file__).parent

CHECK = """
from transformers import AutoConfig, AutoModel, AutoModelForSemanticSegmentation
from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING
from transformers.pipelines import PIPELINE_REGISTRY
config = AutoConfig.for_model("resnet-unet", base_width=2, depth=10)
for factory in (AutoModel, AutoModelForSemanticSegmentation):
    assert type(factory.from_config(config)).__name__ == "ResNetUNetForSemanticSegmentation"
assert "LesionImageProcessor" in str(IMAGE_PROCESSOR_MAPPING[type(config)])
assert "lesion-segmentation" in PIPELINE_REGISTRY.get_supported_tasks()
import sys
assert [type(finder) for finder in sys.meta_path if type(finder).__module__.startswith("hf_lesionseg")] == []
"""


def python(code, cwd=None, **environment):
    return subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, env=os.environ | environment, capture_output=True, text=True, check=False
    )


def test_import_is_light():
    heavy = ["torch", "transformers", "huggingface_hub", "numpy", "nibabel", "scipy", "matplotlib", "yaml"]
    done = python(f"import sys, hf_lesionseg; print([name for name in {heavy} if name in sys.modules])")
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "first",
    [
        "import hf_lesionseg",
        "import hf_lesionseg; from transformers.modeling_layers import GradientCheckpointingLayer",
        # It loads a factory on its way, and our networks build on it.
        "import hf_lesionseg; from transformers import ResNetModel",
        pytest.param("from hf_lesionseg.models.modeling_clci_net import CLCINetForSemanticSegmentation", marks=SLOW),
        pytest.param(
            "from hf_lesionseg.models.modeling_coarse_to_fine import CoarseToFineForSemanticSegmentation", marks=SLOW
        ),
        pytest.param("from hf_lesionseg.models.resnet_decoder import UNetDecoder", marks=SLOW),
        pytest.param(
            "from transformers import AutoModel, AutoImageProcessor, pipeline; import hf_lesionseg", marks=SLOW
        ),
        pytest.param(
            "import hf_lesionseg; from transformers import PreTrainedModel; import hf_lesionseg.inference.pipeline",
            marks=SLOW,
        ),
        pytest.param(
            "import hf_lesionseg; from importlib.util import find_spec; "
            "assert find_spec('transformers.models.auto.modeling_auto')",
            marks=SLOW,
        ),
        pytest.param(
            "import hf_lesionseg, threading\n"
            "def load():\n    from transformers import AutoModel\n"
            "threads = [threading.Thread(target=load) for _ in range(2)]\n"
            "[thread.start() for thread in threads]\n[thread.join() for thread in threads]",
            marks=SLOW,
        ),
        pytest.param("from hf_lesionseg import LesionImageProcessor", marks=SLOW),
        pytest.param("import transformers.pipelines, hf_lesionseg", marks=SLOW),
        pytest.param("import hf_lesionseg.auto; hf_lesionseg.auto.register()", marks=SLOW),
    ],
)
def test_any_order_of_imports(first):
    done = python(f"{first}\n{CHECK}")
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr, done.stderr


def broken_package(root, name, text):
    """The package with one file changed, the others being links to ours; for PYTHONPATH."""

    def link(source, target, within):
        target.mkdir(parents=True)
        for path in source.iterdir():
            if path.name == within[0] and len(within) > 1:
                link(path, target / path.name, within[1:])
            elif path.name == within[0]:
                (target / path.name).write_text(text)
            else:
                (target / path.name).symlink_to(path)

    link(PACKAGE, root / "hf_lesionseg", Path(name).parts)
    return {"PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}  # nor into our __pycache__


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (
            "models/modeling_l_snet.py",
            "register l-snet with AutoModel: ImportError: cannot import name 'nonsense' from",
        ),
        pytest.param("models/configuration_l_snet.py", "register l-snet with AutoConfig: ImportError", marks=SLOW),
        pytest.param("models/image_processing_lesion.py", "with AutoImageProcessor: ", marks=SLOW),
        pytest.param(
            "inference/pipeline.py", "register the task lesion-segmentation with transformers.pipeline", marks=SLOW
        ),
    ],
)
def test_a_broken_module_of_ours_leaves_transformers_working(tmp_path, name, told):
    environment = broken_package(tmp_path, name, "from os import nonsense\n")
    done = python(
        "import hf_lesionseg\n"
        "from transformers import AutoConfig, AutoModel\n"
        "from transformers import pipeline\n"
        "for model_type, settings in (('clci-net', {'base_width': 2}), ('resnet', {'depths': [1] * 4})):\n"
        "    print(type(AutoModel.from_config(AutoConfig.for_model(model_type, **settings))).__name__)\n",
        cwd=tmp_path,  # it goes before PYTHONPATH
        **environment,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["CLCINetForSemanticSegmentation", "ResNetModel"]
    warnings = [line for line in done.stderr.splitlines() if "RuntimeWarning: hf_lesionseg cannot" in line]
    assert len(warnings) == 1, done.stderr  # once, though several factories lack it
    assert told in warnings[0]
    assert f"{Path(name).name}, line 1)" in warnings[0]


def test_a_factory_that_has_moved_is_named_and_filled_at_once():
    done = python(
        "import sys, hf_lesionseg\n"
        "(finder,) = [each for each in sys.meta_path if type(each).__module__ == 'hf_lesionseg.registration']\n"
        "auto = 'transformers.models.auto.'\n"
        "finder.pending[auto + 'modeling_moved'] = finder.pending.pop(auto + 'modeling_auto')\n" + CHECK
    )
    assert done.returncode == 0, done.stderr
    assert (
        "RuntimeWarning: hf_lesionseg does not find transformers.models.auto.modeling_moved in transformers 5"
        in done.stderr
    )


def test_load_and_pickle_in_processes_that_imported_nothing_else(tmp_path):
    """A network by its Auto class where only the package was imported, then pickled for one that imported nothing."""
    tiny_model("clci-net").save_pretrained(tmp_path)
    done = python(
        "import pickle, sys, hf_lesionseg\n"
        "assert 'transformers' not in sys.modules\n"
        "from transformers import AutoConfig, AutoModel\n"
        "from transformers.models.auto.configuration_auto import CONFIG_MAPPING\n"
        f"model = AutoModel.from_pretrained({str(tmp_path)!r})\n"
        "assert 'l-snet' in pickle.loads(pickle.dumps(CONFIG_MAPPING))\n"
        "everything = model, model.config, hf_lesionseg.LesionImageProcessor()\n"
        f"pickle.dump(everything, open({str(tmp_path / 'all')!r}, 'wb'))\n"
    )
    assert done.returncode == 0, done.stderr
    done = python(
        "import pickle\n"
        f"model, config, processor = pickle.load(open({str(tmp_path / 'all')!r}, 'rb'))\n"
        "from transformers import AutoModel\n"
        "assert type(AutoModel.from_config(config)) is type(model), type(model)\n"
        "print(type(model).__name__, type(processor).__name__)\n"
    )
    assert done.stdout.split() == ["CLCINetForSemanticSegmentation", "LesionImageProcessor"], done.stderr


def test_public_names_resolve():
    done = python(
        "import hf_lesionseg as package\n"
        "assert [getattr(package, name) for name in package.__all__]\n"
        "from hf_lesionseg import *\n"
        "assert LSNetConfig is package.models.loadable()['l-snet'].config_class()\n"
        "assert package.ops.backend()\n"
        "try:\n    package.nonsense\nexcept AttributeError as error:\n    assert 'nonsense' in str(error)\n"
        "else:\n    raise SystemExit('resolved')"
    )
    assert done.returncode == 0, done.stderr


def test_every_room_is_found_after_importing_the_package_alone():
    folder = Path(hf_lesionseg.__file__).parent
    rooms = {path.parent.name for path in folder.glob("*/__init__.py")} - {"cli"}  # which is a command
    done = python(f"import hf_lesionseg\nfor room in {sorted(rooms)}: getattr(hf_lesionseg, room)")
    assert done.returncode == 0, done.stderr


def test_every_network_is_listed_and_completed():
    """As an interpreter's Tab asks, which must not load torch for it."""
    names = [name for network in loadable().values() for name in network.classes]
    assert len(names) == 2 * len(loadable())
    assert set(names) <= set(hf_lesionseg.__all__) & set(dir(hf_lesionseg))
    done = python(
        "import hf_lesionseg, sys\n"
        "shown = [name for name in dir(hf_lesionseg) if name.startswith('LSNet')]\n"
        "assert 'torch' not in sys.modules\n"
        "from rlcompleter import Completer\n"
        "completer = Completer({'hf_lesionseg': hf_lesionseg})\n"
        "print(*shown, completer.complete('hf_lesionseg.LSNetC', 0))"
    )
    assert done.stdout.split()[:2] == ["LSNetConfig", "LSNetForSemanticSegmentation"], done.stderr
    assert done.stdout.split()[2].startswith("hf_lesionseg.LSNetConfig")
