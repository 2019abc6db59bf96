"""Letters that matplotlib's own font lacks: a font of this machine that has them, or else their numbers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from functools import lru_cache

from matplotlib.font_manager import FontProperties, findfont, fontManager
from matplotlib.ft2font import FT2Font

OWN_FONT = "DejaVu Sans"


def escape(text: str) -> str:
    r"""Write each letter that no font has by its number, such as ``\u91cd``; matplotlib would draw a box and warn."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(each if font_of(each) else each.encode("unicode_escape").decode() for each in text)


def fonts_for(texts: Iterable[str]) -> list[str]:
    """List the fonts that some texts need, matplotlib's own first: it takes each letter from the first that has it."""
    letters = {each for text in texts if not text.isascii() for each in text}
    return list(dict.fromkeys([OWN_FONT, *sorted(filter(None, map(font_of, letters)))]))


@lru_cache(maxsize=4096)
def font_of(letter: str) -> str | None:
    """Find a font that has a letter: matplotlib's own, else the first one of this machine by its name."""
    if ord(letter) in _own_letters():
        return OWN_FONT
    return next((name for name, font in _other_fonts() if font.get_char_index(ord(letter))), None)


@lru_cache(maxsize=1)
def _own_letters() -> Collection[int]:
    return FT2Font(findfont(FontProperties(family=OWN_FONT))).get_charmap().keys()


def _other_fonts() -> Iterator[tuple[str, FT2Font]]:
    """Yield the fonts in matplotlib's list, which it made once and keeps in its cache."""
    found = {each.name: each.fname for each in fontManager.ttflist if "Emoji" not in each.name}  # those are pictures
    for name in sorted(found):
        try:
            font = FT2Font(found[name])
        except (OSError, RuntimeError):  # removed since, or damaged
            continue
        if font.scalable:
            yield name, font
