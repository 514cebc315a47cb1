"""The site builds without a warning, and its links lead somewhere without a network."""

import html.parser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import pytest

from liverutils.course.contents import executed_copy, read_contents
from liverutils.course.faults import read_faults
from liverutils.course.site import Gathering, build_site
from liverutils.scans.verify import FAULTS

ROOT = Path(__file__).parent.parent
SHOWN = ("03_metrics", "22_unet")


class Links(html.parser.HTMLParser):
    """Where a page leads, what it loads, and where others may point to."""

    def __init__(self, page: Path):
        super().__init__()
        self.leads, self.loads, self.ids, self.alts = [], [], set(), []
        self.feed(page.read_text())

    def handle_starttag(self, tag, attributes):
        facts = dict(attributes)
        self.ids |= {facts["id"]} if facts.get("id") else set()
        if tag == "a" and facts.get("href"):
            self.leads.append(facts["href"])
        if tag == "img":
            self.alts.append(facts.get("alt") or "")
        if tag in ("img", "script", "iframe") and facts.get("src"):
            self.loads.append(facts["src"])
        if tag == "link" and facts.get("rel") in ("stylesheet", "preload", "icon"):
            self.loads.append(facts["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """Two notebooks and all pages but the package's reference; one warning would end it."""
    folder = tmp_path_factory.mktemp("built") / "site"
    assert build_site(folder, SHOWN, api=False) == 0
    return folder


@pytest.fixture(scope="module")
def pages(site) -> dict[Path, Links]:
    found = sorted(site.rglob("*.html"))
    return {page: Links(page) for page in found if "_static" not in page.parts}


def test_every_link_inside_the_site_leads_somewhere(site, pages):
    broken = []
    for page, links in pages.items():
        for target in links.leads + links.loads:
            address = urlsplit(target)
            if address.scheme or address.netloc:
                continue
            there = (page.parent / unquote(address.path)).resolve() if address.path else page
            if not there.is_file():
                broken.append(f"{page.relative_to(site)}: {target}")
            elif address.fragment and there in pages:
                known = unquote(address.fragment) in pages[there].ids
                broken += [] if known else [f"{page.relative_to(site)}: {target}"]
    assert broken == []


def test_no_page_loads_anything_from_the_network(pages):
    loads = [target for links in pages.values() for target in links.loads]
    assert [target for target in loads if urlsplit(target).scheme in ("http", "https")] == []
    assert [target for target in loads if "MathJax" in target]


def test_every_picture_has_words(pages):
    alts = {page.name: links.alts for page, links in pages.items()}
    files = (".png", ".svg")  # Without words of its own, a picture has its file's name.
    assert sum(map(len, alts.values())) > 20
    without = {
        page: [alt for alt in words if not alt or alt.endswith(files)]
        for page, words in alts.items()
    }
    assert {page: words for page, words in without.items() if words} == {}


def test_a_notebook_has_its_outputs_and_what_is_plumbing_is_folded(site):
    page = (site / "notebooks" / "22_unet.html").read_text()
    assert page.count("<img alt") >= 5 and "cell_output" in page
    assert page.count("<summary>A solution</summary>") == 3
    assert "tag_hide-cell" in page
    assert "colab.research.google.com/github/" in page
    assert "_sources/notebooks/22_unet.ipynb" in page


def test_links_between_files_become_links_between_pages(tmp_path):
    gathering = Gathering(tmp_path, SHOWN, api=False)
    origin, page = Path("docs/install.md"), "install"

    def turned(link: str) -> str:
        return gathering.relink(f"[x]({link})", origin, page)[4:-1]

    assert turned("../notebooks/22_unet.ipynb") == "notebooks/22_unet.ipynb"
    assert turned(f"../{executed_copy('UNet')}") == "notebooks/22_unet.ipynb"
    assert turned("faults.md#padding") == "faults.md#padding"
    assert turned("../Makefile").endswith("/blob/main/Makefile")
    assert turned("https://example.org/a") == "https://example.org/a"
    picture = "../images_gallery/UNet/contact_sheet.png"
    assert turned(picture) == "pictures/images_gallery/UNet/contact_sheet.png"
    assert (tmp_path / "pictures/images_gallery/UNet/contact_sheet.png").is_file()
    code = "```\n[x](../Makefile)\n```"
    assert gathering.relink(code, origin, page) == code


def test_every_notebook_stands_in_the_contents_once():
    listed = [notebook.name for part in read_contents() for notebook in part.notebooks]
    there = sorted(path.stem for path in (ROOT / "notebooks").glob("[0-9]*.ipynb"))
    assert listed == there, "list it in docs/notebooks.yaml, as it is taught"


def test_executed_copies_are_those_of_their_notebooks():
    for notebook in (notebook for part in read_contents() for notebook in part.notebooks):
        if notebook.executed:
            title = (
                nbformat.read(ROOT / notebook.path, as_version=4).cells[0].source.splitlines()[0]
            )
            copy = nbformat.read(ROOT / notebook.executed, as_version=4).cells
            assert title in [cell.source.splitlines()[0] for cell in copy if cell.source]


def test_every_fault_is_listed_with_what_to_do():
    faults = {fault.name: fault for fault in read_faults()}
    assert faults.keys() >= FAULTS.keys() | {"unknown_patient", "bad_input"}
    assert [name for name, fault in faults.items() if not fault.sentences + (fault.meaning,)] == []
    sentence = "There is no patient ‹patient›; choose one of ‹…›."
    assert sentence in faults["unknown_patient"].sentences
    assert faults["unknown_patient"].modules == ("course.data",)
