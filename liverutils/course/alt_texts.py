"""Words for the pictures of an executed notebook, for those who cannot see them."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

CALL = re.compile(r"(\w+)\(")
DRAWS = re.compile(r"plot_|show_|view_|draw_|contact_sheet|imshow|hist|scatter")


def words_for_pictures(cells: Sequence[Any]) -> Iterator[str]:
    """Yield for each cell of a notebook the words for its pictures; nothing where there is none.

    They are the figure's own, which `figures.use_style` keeps beside each picture. A picture that
    has none, such as one that was drawn before this was so, is named by its section's heading and
    by what drew it.
    """
    section = "the notebook"
    for cell in cells:
        if cell["cell_type"] == "markdown":
            headings = re.findall(r"^#+\s+(.+)$", cell["source"], re.MULTILINE)
            section = re.sub(r"[*`$\[\]]", "", headings[-1]) if headings else section
            yield ""
            continue
        pictures = [o for o in cell.get("outputs", ()) if _is_picture(o)]
        words = [_own_words(picture) or _named(section, cell["source"]) for picture in pictures]
        yield " · ".join(dict.fromkeys(words))


def _is_picture(output: Any) -> bool:
    return any(kind.startswith("image/") for kind in output.get("data", {}))


def _own_words(output: Any) -> str:
    about = output.get("metadata", {})
    return next((a["alt"] for a in about.values() if isinstance(a, dict) and a.get("alt")), "")


def _named(section: str, code: str) -> str:
    drawn_by = [name for name in CALL.findall(code) if DRAWS.match(name)]
    return f"Picture in the section “{section}”" + (f", from {drawn_by[-1]}" if drawn_by else "")
