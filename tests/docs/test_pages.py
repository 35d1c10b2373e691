"""The README and every page of docs/, followed to the letter.

A page is read from top to bottom in a folder that holds small data under the names that the pages use (conftest.py).
Each command of a ``bash`` block is run, each ``python`` block is a program of its own, and a block that opens with
``LANGUAGE file=PATH`` is written to that file. ``python registry`` is the line that a page tells to add to
``NETWORKS``: its page is followed with a copy of the package. Above a block that cannot be run here stands
``<!-- test: skip: REASON -->``; its commands are looked up instead.
"""

import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
DOCS = REPOSITORY / "docs"
PAGES = ["README.md", *sorted(str(page.relative_to(REPOSITORY)) for page in DOCS.rglob("*.md"))]
LANGUAGES = {"bash", "python", "yaml", "csv", "json", "text"}

#: The only changes to what the pages say: options added to commands, and words replaced in programs.
TRAINING = r"lesionseg train |scripts/train\.py "
SMALLER = (
    (TRAINING, "--epochs 1 --max-steps 2 --eval-batch-size 4 --cpu"),
    (rf"(?:{TRAINING})(?!.*--model)", "--base-width 4 --encoder-weights none"),
    (r"prepare synthetic", "--count 8"),
    (r"prepare heads", "--render 3 --spacing 4 5"),
    (r"mine_hard_negatives\.py", "--slices 32"),
    (r"prepare template-heads", "--count 3"),
    (r"measure_fine_tuning\.py", "--cases 4 --epochs 1"),
    (r"lesionseg reproduce (?!--help)", "--steps 1 --base-width 4 --batch-size 2"),
    (r"reproduce .*synthetic", "--cases 12 --size 64"),
    (r"reproduce l-snet", "--row U-Net"),
    (r"reproduce clci", "--row Baseline"),
    (r"benchmark_kernels\.py", "--repeats 2 --only roi_paste"),
    (r"benchmark_network\.py", "--widths 4 --repeats 2 --size 32 32 --batch-size 1"),
)
SMALLER_IN_PROGRAMS = (("patients=60", "patients=1"),)

#: What may stand in a skipped block: it needs a network or many minutes. Other tests run the builds and the demo.
SKIPPED_COMMANDS = ("git clone ", "cd ", "pip install ", "make ", "lesionseg demo")
#: Files that must be there once a page was followed.
AFTERWARDS = {
    "README.md": ("masks/scan_mask.nii.gz", "scores/metrics.json"),
    "docs/how-to/add-a-network.md": ("masks/scan_mask.nii.gz", "runs/tiny-net/README.md"),
}

_BLOCK = re.compile(
    r"^(?:<!-- test: skip: (?P<reason>.+) -->\n)?(?:<!-- test command -->\n)?"
    r"```(?P<language>\S*) ?(?P<argument>.*)\n(?P<text>(?:(?!```).*\n)*)```$",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Block:
    """One fenced block of a page; ``reason`` tells why it is not run, ``argument`` is the rest of its first line."""

    language: str
    argument: str
    text: str
    reason: str | None

    @property
    def commands(self):
        if self.language != "bash":
            return []
        lines = re.sub(r"\\\n\s*", "", self.text).splitlines()
        return [line.split("  #")[0].strip() for line in lines if line.split("#")[0].strip()]


def read(page):
    return (REPOSITORY / page).read_text("utf-8")


def blocks_of(page):
    found = [Block(m["language"], m["argument"], m["text"], m["reason"]) for m in _BLOCK.finditer(read(page))]
    assert len(found) * 2 == len(re.findall(r"^```", read(page), re.MULTILINE)), f"{page}: a block is not closed"
    return found


def prose_of(page):
    return _BLOCK.sub("", read(page))


def all_commands():
    return [(page, block, command) for page in PAGES for block in blocks_of(page) for command in block.commands]


# --- looked up


@pytest.fixture(scope="module")
def command_options():
    """Options of every subcommand ("prepare atlas") and script ("scripts/train.py")."""
    import typer

    from hf_lesionseg.cli import app

    known = {}

    def collect(command, names):
        for name, child in getattr(command, "commands", {}).items():
            collect(child, (*names, name))
        known[" ".join(names)] = {word for option in command.params for word in (*option.opts, *option.secondary_opts)}

    collect(typer.main.get_command(app), ())
    known["scripts/train.py"] = known["train"]
    for script in (REPOSITORY / "scripts").glob("*.py"):
        known.setdefault(f"scripts/{script.name}", set(re.findall(r'"(--?[a-z][a-z_-]*)"', script.read_text("utf-8"))))
    return {name: options | {"--help"} for name, options in known.items()}


def own_part(command):
    """Subcommand or script of this package in a command line, and the words behind it; or None."""
    words = shlex.split(command)
    for index, word in enumerate(words):
        if word.startswith("scripts/"):
            return word, words[index + 1 :]
        if word == "lesionseg":
            behind = words[index + 1 :]
            length = 2 if behind[0] == "prepare" else 1
            return " ".join(behind[:length]), behind[length:]
    return None


@pytest.mark.parametrize("page", PAGES)
def test_commands_and_options_exist(page, command_options):
    spans = re.findall(r"`((?:lesionseg|python scripts/|scripts/)[^`\n]*)`", prose_of(page).replace("\n", " "))
    lines = [command for block in blocks_of(page) for command in block.commands] + spans
    for part in filter(None, map(own_part, (line for line in lines if " " in line))):
        name, words = part
        assert name in command_options, f"{page}: there is no {name}"
        for word in words:
            if re.match(r"--?[a-z]", word):
                assert word.split("=")[0] in command_options[name], f"{page}: {name} has no option {word}"
    everything = set().union(*command_options.values()) | {"--no-build-isolation"}
    for option in re.findall(r"`(--[a-z_-]+)", prose_of(page)):
        assert option in everything, f"{page}: nothing has the option {option}"


def test_every_subcommand_is_on_some_page(command_options):
    text = " ".join(map(read, PAGES)).replace("\n", " ")
    subcommands = [name for name in command_options if name not in ("", "prepare") and "/" not in name]
    assert len(subcommands) > 10
    assert [name for name in subcommands if not re.search(rf"lesionseg {name}(?![\w-])", text)] == []


@pytest.mark.parametrize("page", PAGES)
def test_recipes_and_switches_exist(page):
    from hf_lesionseg.training.recipe import packaged_recipes

    written = {block.argument.removeprefix("file=") for block in blocks_of(page)}
    for recipe in re.findall(r"--recipe ([\w.-]+)", read(page)):
        assert recipe in packaged_recipes() or recipe in written, f"{page}: there is no recipe {recipe}"
    sources = "".join(
        path.read_text("utf-8")
        for path in (REPOSITORY / "setup.py", *(REPOSITORY / "hf_lesionseg" / "ops").glob("*.py"))
    )
    for switch in re.findall(r"HF_LESIONSEG_[A-Z_]+", read(page)):
        assert switch in sources, f"{page}: nothing reads {switch}"


def extras_of_the_package():
    section = read("pyproject.toml").partition("[project.optional-dependencies]")[2].partition("[project.scripts]")[0]
    return set(re.findall(r"^([a-z-]+) = \[", section, re.MULTILINE))


def test_the_page_on_installing_names_every_extra():
    named = set(re.findall(r"^\| `([a-z-]+)` \|", read("docs/start/install.md"), re.MULTILINE))
    assert named == extras_of_the_package() - {"dev"}


def test_skipped_blocks_say_why_and_name_what_exists():
    targets = set(re.findall(r"^([a-z-]+):", read("Makefile"), re.MULTILINE))
    extras = extras_of_the_package()
    for page, block, command in all_commands():
        if block.reason is None:
            assert not command.startswith(SKIPPED_COMMANDS), f"{page}: {command} is run by nobody; say why above it"
            continue
        # Environment variables before a command are looked up with the switches.
        bare = re.sub(r"^(?:[A-Z_]+=\S+ )+", "", command)
        assert bare.startswith(SKIPPED_COMMANDS), f"{page}: {command} must be run, not skipped"
        for target in re.findall(r"^make ([a-z-]+)", bare):
            assert target in targets, f"{page}: there is no target {target}"
        for names in re.findall(r"\[([a-z,-]+)\]", bare):
            assert set(names.split(",")) <= extras, f"{page}: there is no extra {names}"


@pytest.mark.parametrize("page", PAGES)
def test_blocks_are_of_a_known_kind(page):
    assert {block.language for block in blocks_of(page)} <= LANGUAGES


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose_of(page)):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        place = (REPOSITORY / page).parent / path if path else REPOSITORY / page
        assert place.exists(), f"{page}: {target} leads nowhere"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", place.read_text("utf-8"), re.MULTILINE)
            names = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in names, f"{page}: {place.name} has no heading for #{anchor}"


def test_the_index_lists_every_page():
    listed = set(re.findall(r"\]\(([\w./-]+\.md)\)", read("docs/README.md")))
    assert listed == {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")} - {"README.md"}
    linked = {
        ((REPOSITORY / page).parent / target).resolve()
        for page in PAGES
        for target in re.findall(r"\]\(([\w./-]+\.md)\)", read(page))
    }
    assert {REPOSITORY / page for page in PAGES} - {REPOSITORY / "README.md"} <= linked


# --- run


def made_smaller(command):
    return " ".join([command, *(options for pattern, options in SMALLER if re.search(pattern, command))])


def follow_registry(block, workplace):
    """Add the entry to a copy of the package, which is used from then on."""
    package = workplace / "hf_lesionseg"
    shutil.copytree(
        REPOSITORY / "hf_lesionseg", package, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True
    )
    registry, opening = package / "models" / "network_table.py", "NETWORKS = (\n"
    before = registry.read_text("utf-8")
    assert before.count(opening) == 1
    registry.write_text(before.replace(opening, opening + block.text), "utf-8")


def run(words, workplace, environment, told):
    done = subprocess.run(words, cwd=workplace, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{told}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"


@pytest.mark.slow  # each command is a process of its own
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("page", [page for page in PAGES if blocks_of(page)])
def test_every_block_runs(page, workplace, hub_environment):
    blocks = blocks_of(page)
    own_package = any(block.argument == "registry" for block in blocks)
    environment = hub_environment | {"PYTHONPATH": str(workplace if own_package else REPOSITORY)}
    for block in blocks:
        if block.reason is not None:
            continue
        if block.argument == "registry":
            follow_registry(block, workplace)
        elif block.argument.startswith("file="):
            path = workplace / block.argument.removeprefix("file=")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, "utf-8")
        elif block.language == "python":
            program = block.text
            for long, short in SMALLER_IN_PROGRAMS:
                program = program.replace(long, short)
            run([sys.executable, "-c", program], workplace, environment, program)
        for command in block.commands:
            run(["bash", "-euo", "pipefail", "-c", made_smaller(command)], workplace, environment, command)
    for name in AFTERWARDS.get(page, ()):
        assert (workplace / name).is_file(), f"{page}: {name} was not made"
