"""A model card as a web page: one file, nothing loaded from elsewhere, light and dark."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from html import escape, unescape

from markdown_it import MarkdownIt

_STYLE = """
:root { color-scheme: light dark; --line: light-dark(#d8dee4, #3d444d); --soft: light-dark(#f6f8fa, #1c2128); }
body { font: 16px/1.55 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
  color: light-dark(#1f2328, #e6edf3); background: light-dark(#ffffff, #0d1117); overflow-wrap: anywhere; }
h1 { font-size: 1.8rem; } h2 { font-size: 1.25rem; margin-top: 2rem; border-bottom: 1px solid var(--line); }
table { border-collapse: collapse; display: block; overflow-x: auto; margin: 1rem 0;
  font-variant-numeric: tabular-nums; }
th, td { border: 1px solid var(--line); padding: .3rem .7rem; text-align: left; white-space: nowrap; }
td:last-child { white-space: normal; } thead { background: var(--soft); } th:empty { display: none; }
.plots { display: grid; grid-template-columns: repeat(auto-fill, minmax(20rem, 1fr)); gap: 1rem; }
img { width: 100%; border-radius: 6px; border: 1px solid var(--line); }
"""
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def card_html(markdown: str, plots: Mapping[str, bytes] | None = None) -> str:
    """Turn a model card into a page that stands by itself.

    Parameters
    ----------
    markdown : str
        What ``model_card`` gave. HTML in it is shown, not obeyed.
    plots : mapping of str to bytes, or None
        Name → PNG, put into the page.
    """
    title = escape(unescape(markdown.partition("\n")[0].lstrip("# ").replace("\\", "")))
    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(markdown)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n{body}{_gallery(plots or {})}</body>\n</html>\n"
    )


def _gallery(plots: Mapping[str, bytes]) -> str:
    if not plots:
        return ""
    images = "\n".join(_image(name, content) for name, content in plots.items())
    return f'<h2>Plots</h2>\n<div class="plots">\n{images}\n</div>\n'


def _image(name: str, content: bytes) -> str:
    return f'<img alt="{escape(name)}" src="data:image/png;base64,{b64encode(content).decode()}">'
