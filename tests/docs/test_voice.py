"""The worst of what docs/explanation/words.md warns of stays out of messages, help and pages."""

import ast
import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
#: words.md itself names the phrases that it warns of.
PAGES = [REPOSITORY / "README.md", REPOSITORY / "CARD.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
TEMPLATES = sorted((REPOSITORY / "hf_lesionseg" / "hub" / "templates").iterdir())
SOURCES = sorted((REPOSITORY / "hf_lesionseg").rglob("*.py"))
_BLOCK = re.compile(r"^```.*?^```$|{%.*?%}|`[^`\n]+`", re.MULTILINE | re.DOTALL)
BANNED = {
    "a sentence that opens with Of": r"(?:^|[.:!?] |\n\n|\n- |\| )Of (?!course)[a-z`\d]",
    '"X is no Y"': r"(?<!there )(?<!There )\b(?:is|are) (?:no (?!longer|more|better|larger)|none\b)",
    "a thing that tells": r"\btells\b|\bis told\b|\bare told\b",
    '"will do"': r"\bwill do\b(?! nothing| so)",
    '"which the data lack"': r"\b(?:what|which)\b[^.;:]{0,40}\blacks?\b|\black(?:s|ing)?(?=[.;,:)]|$)",
    '"wins"': r"\bwins?\b",
    '"cannot be" without a verb': r"\bcannot be(?=[;,.:)]|$)",
    '"go behind each other"': r"\bgo(?:es)? behind\b",
    '"what looks"': r"\b[Ww]hat looks\b",
    '"be it"': r", be it\b",
}


def found_in(text):
    return [f"{name}: ...{text[max(0, m.start() - 30) : m.end() + 30]!r}" for name, m in _matches(text)]


def _matches(text):
    return [(name, match) for name, pattern in BANNED.items() for match in re.finditer(pattern, text)]


def messages_of(tree, with_docstrings):
    """Strings of a module, f-strings with {} for their values; docstrings are the help of a command, or left out."""
    skipped = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and not with_docstrings:
            skipped.add(node.value)
        if isinstance(node, ast.JoinedStr):
            skipped.update(node.values)
            yield node.lineno, "".join(v.value if isinstance(v, ast.Constant) else "{}" for v in node.values)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in skipped:
            yield node.lineno, node.value


@pytest.mark.parametrize(
    "page", [page for page in (*PAGES, *TEMPLATES) if page.name != "words.md"], ids=lambda page: page.name
)
def test_a_page_speaks_plainly(page):
    assert not found_in(_BLOCK.sub("", page.read_text("utf-8")))


def test_messages_and_help_speak_plainly():
    odd = [
        f"{path.relative_to(REPOSITORY)}:{line}: {each}"
        for path in SOURCES
        for line, text in messages_of(ast.parse(path.read_text("utf-8")), path.parent.name == "cli")
        if text.count(" ") >= 2
        for each in found_in(text)
    ]
    assert not odd, "\n".join(odd)


@pytest.mark.parametrize(
    "text",
    [
        "Of a network's channels the first",
        "a.nii: is no mask; give one",
        "the table tells what it holds",
        "a folder will do",
        "learns from dwi, which the data lack; prepare them",
        "threshold 2 cannot be; give 0 to 1",
        "Several scans go behind each other",
    ],
)
def test_odd_phrases_are_found(text):
    assert found_in(text)


def test_plain_sentences_pass():
    for text in (
        "there is no split x",
        "it is no longer there",
        "Fractions of a scan",
        "two rows cannot be told apart",
    ):
        assert not found_in(text)
