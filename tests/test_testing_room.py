"""What tests share lies in ``hf_lesionseg.testing``, and what is shipped needs no file of ``tests/``."""

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
REPOSITORY = TESTS.parent
SHIPPED = [path for room in ("hf_lesionseg", "scripts") for path in (REPOSITORY / room).rglob("*.py")]


def changes_the_path(tree):
    """Whether a program changes ``sys.path``; programs that it only holds as text do not count."""
    for node in ast.walk(tree):
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "func", None)]
        for target in targets:
            if isinstance(target, ast.Subscript | ast.Attribute) and ast.unparse(target.value) == "sys.path":
                return True
    return False


@pytest.mark.parametrize("path", sorted(TESTS.rglob("*.py")), ids=lambda path: str(path.relative_to(TESTS)))
def test_no_test_reaches_for_another(path):
    text = path.read_text("utf-8")
    assert not changes_the_path(ast.parse(text)), "put what tests share into hf_lesionseg/testing"
    if "spec_from_file_location" in text and path != Path(__file__):
        assert re.findall(r"spec_from_file_location\([^)]*, SCRIPT\)", text), "only a script is loaded by its path"


def test_a_changed_path_is_seen():
    for line in ("sys.path.insert(0, 'x')", "sys.path[:0] = ['x']", "sys.path.append('x')"):
        assert changes_the_path(ast.parse(f"import sys\n{line}"))
    assert not changes_the_path(ast.parse("PROGRAM = 'sys.path.insert(0, x)'\nprint(sys.path)"))


def test_what_is_shipped_starts_no_file_of_the_tests():
    found = [path for path in SHIPPED if re.search(r"""["'/]tests["'/]""", path.read_text("utf-8"))]
    assert found == []
