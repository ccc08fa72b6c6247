"""What all pages share: style, tables, embedded images. A page loads nothing from elsewhere."""

import base64
import io
from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from ganloom.core.files import storage_errors, write_atomically
from ganloom.core.tables import escape
from ganloom.core.tables import html_table as table

__all__ = [
    "MISSING",
    "data_url",
    "duration",
    "escape",
    "figure",
    "kimg",
    "missing",
    "note",
    "number",
    "png_url",
    "table",
    "write_page",
]

MISSING = "–"

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 66rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; margin: .5rem 0 1.5rem; }
td, th { padding: .2rem .8rem .2rem 0; text-align: left; vertical-align: top; }
thead th { border-bottom: 1px solid #bbb; font-size: .85rem; } tbody tr + tr td { border-top: 1px solid #eee; }
img { max-width: 100%; } code { background: #f2f2f2; padding: .1rem .3rem; } li { font-family: monospace; }
.bar { display: inline-block; height: .7rem; background: #4a7; } h1 { font-size: 1.5rem; }
h2 { font-size: 1.1rem; margin-top: 2.2rem; }
pre { background: #f6f6f6; padding: .8rem 1rem; overflow-x: auto; font-size: .8rem; line-height: 1.35; }
figure { margin: .5rem 0 1rem; break-inside: avoid; } figcaption, .small { color: #555; font-size: .85rem; }
.pair { display: flex; flex-wrap: wrap; gap: 1.5rem; align-items: flex-start; }
.pair figure { flex: 1 1 20rem; } .pair img { width: 100%; }
.wide { overflow-x: auto; } .wide td { vertical-align: middle; white-space: nowrap; }
.wide img { min-width: 20rem; }
.wide th { vertical-align: bottom; } .numbers td:nth-child(-n+3) { white-space: nowrap; }
.key { display: flex; flex-wrap: wrap; gap: .5rem 2.5rem; margin: 1.2rem 0; }
.key div { font-size: .85rem; color: #555; }
.key b { display: block; font-size: 1.5rem; font-weight: 600; color: #222; }
.missing { color: #555; border-left: 4px solid #bbb; padding-left: .8rem; }
.verdict { border-left: 4px solid #0072b2; padding-left: .8rem; }
.warning { border-left: 4px solid #d55e00; padding-left: .8rem; }
"""
# With this policy a browser loads nothing, even if something in the page asks for it.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def data_url(image: Image.Image, quality: int = 90) -> str:
    """An image as a data URL, in JPEG."""
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=quality)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def png_url(data: bytes) -> str:
    """A PNG file as a data URL."""
    return "data:image/png;base64," + base64.b64encode(data).decode()


def write_page(path: Path, title: str, parts: Iterable[str], remedy: str) -> Path:
    """Write the page, completely or not at all. Raises `StorageError` with the remedy."""
    head = (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f"<title>{escape(title)}</title><style>{STYLE}</style>"
    )
    with storage_errors(path, remedy):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, (head + "\n".join(parts) + "</html>\n").encode("utf-8", "replace"))
    return path


def figure(source: str, caption: str) -> str:
    return f'<figure><img alt="{escape(caption)}" src="{source}"><figcaption>{escape(caption)}</figcaption></figure>'


def missing(text: str) -> str:
    return f'<p class="missing">{escape(text)}</p>'


def note(text: str) -> str:
    return f'<p class="small">{escape(text)}</p>'


def number(value: float | None, form: str) -> str:
    return MISSING if value is None else format(value, form)


def kimg(nimg: float) -> str:
    return f"{nimg / 1000:,.1f} kimg"


def duration(seconds: float) -> str:
    """`8 s`, `12 min 5 s`, `3 h 20 min`."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 1:
        return f"{rest} s"
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60:,} h {minutes % 60} min"
