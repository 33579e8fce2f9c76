"""Draw a picture for a product that has none: a few tiles of plain shapes, always the same for the same product."""

import hashlib
from collections.abc import Iterator

COLUMNS, ROWS, SIDE = 4, 3, 40
PALETTES = (
    ("#f1e4cf", "#1f4d3a", "#d9773b", "#e8b64c"),
    ("#e6ecdf", "#2f5d50", "#8fae6b", "#c9583a"),
    ("#f5e1da", "#7a2e3a", "#d98b7b", "#2c4a52"),
    ("#dfe7ee", "#27496d", "#7fa3c4", "#e0a458"),
    ("#efe6f0", "#54356b", "#b98ac9", "#e2b04a"),
    ("#f3ead9", "#3b3a36", "#b9936c", "#6a8d73"),
)
SHAPES = (
    '<path d="M{x} {y}h40a40 40 0 0 1-40 40z" fill="{ink}"/>',
    '<path d="M{r} {b}h-40a40 40 0 0 1 40-40z" fill="{ink}"/>',
    '<path d="M{x} {b}v-40a40 40 0 0 1 40 40z" fill="{ink}"/>',
    '<circle cx="{cx}" cy="{cy}" r="20" fill="{ink}"/>',
    '<circle cx="{cx}" cy="{cy}" r="13" fill="none" stroke="{ink}" stroke-width="9"/>',
    '<path d="M{x} {y}h40l-40 40z" fill="{ink}"/>',
    '<path d="M{x} {y}h20v40h-20z" fill="{ink}"/>',
    '<path d="M{x} {cy}a20 20 0 0 1 40 0z" fill="{ink}"/>',
    "",
)


def cover_svg(name: str) -> str:
    """Return the picture as an SVG element that assistive technology passes over."""
    digest = hashlib.sha256(name.encode()).digest()
    paper, *inks = PALETTES[digest[0] % len(PALETTES)]
    width, height = COLUMNS * SIDE, ROWS * SIDE
    return (
        f'<svg class="cover" viewBox="0 0 {width} {height}" aria-hidden="true" focusable="false" '
        f'preserveAspectRatio="xMidYMid slice"><rect width="{width}" height="{height}" fill="{paper}"/>'
        f"{''.join(_tiles(digest, inks))}</svg>"
    )


def _tiles(digest: bytes, inks: list[str]) -> Iterator[str]:
    for index in range(COLUMNS * ROWS):
        x, y = index % COLUMNS * SIDE, index // COLUMNS * SIDE
        shape, ink = SHAPES[digest[index + 1] % len(SHAPES)], inks[digest[index + 13] % len(inks)]
        yield shape.format(x=x, y=y, r=x + SIDE, b=y + SIDE, cx=x + SIDE // 2, cy=y + SIDE // 2, ink=ink)
