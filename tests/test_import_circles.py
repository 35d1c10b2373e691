"""No module imports itself by way of others, not even where a function puts the import off."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import hf_lesionseg

ROOT = Path(hf_lesionseg.__file__).parent
#: Modules in circles that are still to be opened.
LEFT = set()


def module_of(path):
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path, known):
    """Modules of the package that a file names in its imports, wherever in the file they are."""
    package = module_of(path).split(".")
    if path.name != "__init__.py":
        package = package[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            inner = [f"{source}.{alias.name}" for alias in node.names if f"{source}.{alias.name}" in known]
            yield from inner
            if source in known and len(inner) < len(node.names):
                yield source


def test_there_is_no_circle():
    files = {module_of(path): path for path in sorted(ROOT.rglob("*.py"))}
    found = {name: set(imports_of(path, files)) - LEFT for name, path in files.items()}
    assert "hf_lesionseg.training.checkpoints" in found["hf_lesionseg.training.resume"]
    try:
        TopologicalSorter(found).prepare()
    except CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))
