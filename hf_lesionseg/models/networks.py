"""Facts about a network besides its configuration and its layers: where they are, and what is special."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Paper:
    """The publication that a model card cites.

    Parameters
    ----------
    title, authors, venue : str
        ``authors`` as BibTeX wants them.
    short : str
        Venue and year in a word or two.
    year : int
    key : str
        BibTeX key.
    arxiv : str
        Identifier, without "arXiv:".
    doi, pages : str
    journal : bool
        ``venue`` is a journal, not the proceedings of a conference.
    """

    title: str
    authors: str
    venue: str
    short: str
    year: int
    key: str
    arxiv: str = ""
    doi: str = ""
    pages: str = ""
    journal: bool = False

    @property
    def url(self):
        return f"https://arxiv.org/abs/{self.arxiv}" if self.arxiv else f"https://doi.org/{self.doi}"

    def bibtex(self):
        """The entry, with the fields that are known."""
        fields = {
            "title": "{" + self.title + "}",  # the second braces keep the capitals
            "author": self.authors,
            "journal" if self.journal else "booktitle": self.venue,
            "year": self.year,
            "pages": self.pages,
            "doi": self.doi,
            "eprint": self.arxiv,
            "archivePrefix": "arXiv" if self.arxiv else "",
        }
        lines = [f"  {name} = {{{value}}}" for name, value in fields.items() if value]
        kind = "article" if self.journal else "inproceedings"
        return f"@{kind}{{{self.key},\n" + ",\n".join(lines) + "\n}"


@dataclass(frozen=True)
class Network:
    """One network. Making an entry imports neither torch nor transformers.

    Parameters
    ----------
    model_type : str
        As in ``config.json``.
    config, model : str
        Names of its two classes.
    modules : tuple of str, optional
        Full names of the modules that hold them; by default ``configuration_<m>`` and ``modeling_<m>`` of this package.
    name : str
        As its paper writes it; by default the ``model_type``.
    task : str
        What it marks, on which images: completes "a network that marks ...".
    paper : Paper, optional
        Without one the model card says that there is none.
    tags : tuple of str
        For the metadata of its card.
    pitfalls : tuple of str
        Failure modes that follow from the method or its images, one sentence each.
    tiny : mapping
        Settings that make it small enough for tests.
    finds_regions : bool
        The number of its regions depends on what it sees, so that it cannot be exported as one graph.
    breaks_the_graph : bool
        Its loss, or all of it, asks SciPy, which ``torch.compile`` cannot trace.
    slow_to_trace : bool
        It has so many layers that the tests that trace it are marked slow.
    needs_its_border : bool
        What it sees depends on where the image ends, so that padding by hand changes its result.
    largest_loss : float or None
        Bound of the loss of an untrained network with one head; None where there is none.
    extra_inputs : mapping of str to int
        Images that it learns from beside ``pixel_values``, each with the number of its channels.
    """

    model_type: str
    config: str
    model: str
    modules: tuple[str, str] | None = None
    name: str = ""
    task: str = "lesions"
    paper: Paper | None = None
    tags: tuple[str, ...] = ()
    pitfalls: tuple[str, ...] = ()
    tiny: Mapping = field(default_factory=dict)
    finds_regions: bool = False
    breaks_the_graph: bool = False
    slow_to_trace: bool = False
    needs_its_border: bool = False
    largest_loss: float | None = 1.0
    extra_inputs: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self):
        file = self.model_type.replace("-", "_")
        for name, default in (
            ("name", self.model_type),
            ("modules", (f"{__package__}.configuration_{file}", f"{__package__}.modeling_{file}")),
        ):
            object.__setattr__(self, name, getattr(self, name) or default)

    @property
    def classes(self):
        """``{name: full name of the module}`` of its two classes."""
        return dict(zip((self.config, self.model), self.modules, strict=True))

    def config_class(self):
        """Import the configuration; loads transformers, but no modeling code."""
        return getattr(importlib.import_module(self.modules[0]), self.config)

    def model_class(self):
        """Import the network; loads torch."""
        return getattr(importlib.import_module(self.modules[1]), self.model)
