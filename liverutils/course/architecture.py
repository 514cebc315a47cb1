"""The picture of the package's rooms and of what they import, as it is now: `make architecture`."""

from pathlib import Path

import grimp

from liverutils.course.repository import repository_root
from liverutils.files import written_aside

# From the bottom up, as the layers contract in pyproject.toml has them.
ROOMS = {
    "scans": "one scan: the case, its files, what can be wrong with it",
    "phantom": "patients who never were",
    "sources": "the data sets we know",
    "slices": "slices on disk and in batches, splits by patient",
    "models": "networks, losses, weights",
    "scoring": "volumes, surfaces, lesions, classes, intervals",
    "runs": "the catalogue, logs, runs compared",
    "training": "learners, callbacks, checkpoints",
    "prediction": "from a network to labels on a scan",
    "figures": "all pictures",
    "course": "what only notebooks and their repository need",
    "cli": "the command `liverutils`",
}
WIDTH, HEIGHT, GAP, LEFT = 330, 40, 14, 300


def room_imports() -> list[tuple[str, str]]:
    """Return which room imports which, sorted from the bottom up."""
    graph = grimp.build_graph("liverutils", cache_dir=None)
    order = list(ROOMS)
    pairs = {
        (_room(module), _room(imported))
        for module in graph.modules
        for imported in graph.find_modules_directly_imported_by(module)
    }
    between = [(a, b) for a, b in pairs if a in ROOMS and b in ROOMS and a != b]
    return sorted(between, key=lambda pair: (order.index(pair[0]), order.index(pair[1])))


def _room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def draw() -> str:
    """Return the picture as SVG: a room a line, the first at the bottom; arrows are imports."""
    order = list(ROOMS)
    middle = {
        room: GAP + (len(order) - 1 - n) * (HEIGHT + GAP) + HEIGHT // 2
        for n, room in enumerate(order)
    }
    height = GAP + len(order) * (HEIGHT + GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + GAP} {height}" '
        'font-family="sans-serif">',
        "<title>The rooms of liverutils; an arrow goes from a room to one that it imports</title>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0 0 8 4 0 8z" fill="#456"/></marker></defs>',
        f'<rect width="{LEFT + WIDTH + GAP}" height="{height}" fill="white"/>',
    ]
    parts += [_arrow(middle[room], middle[imported]) for room, imported in room_imports()]
    for room, what in ROOMS.items():
        y = middle[room]
        parts += [
            f'<rect x="{LEFT}" y="{y - HEIGHT // 2}" width="{WIDTH}" height="{HEIGHT}" rx="6" '
            'fill="#eef3f8" stroke="#456"/>',
            f'<text x="{LEFT + 12}" y="{y - 2}" font-size="14" font-weight="bold">{room}</text>',
            f'<text x="{LEFT + 12}" y="{y + 14}" font-size="11">{what}</text>',
        ]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _arrow(start: int, end: int) -> str:
    """An arc on the left from the lower half of a room to the upper half of one further down."""
    far = LEFT - 20 - (end - start) // 2
    return (
        f'<path d="M{LEFT} {start + 8} C{far} {start + 8} {far} {end - 8} {LEFT} {end - 8}" '
        f'fill="none" stroke="#456" stroke-opacity="0.55" stroke-width="1.3" '
        'marker-end="url(#tip)"/>'
    )


def write_picture(path: Path) -> None:
    """Write the picture to `path`."""
    with written_aside(path) as aside:
        aside.write_text(draw())


if __name__ == "__main__":
    write_picture(repository_root() / "docs" / "architecture.svg")
