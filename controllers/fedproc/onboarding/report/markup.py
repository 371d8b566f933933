"""What the pages share: one self-contained HTML document that reads well on paper, in grey, and to a screen reader."""

from __future__ import annotations

from html import escape

from fedproc.onboarding.model import formatting
from fedproc.onboarding.model.report import Verdict
from fedproc.onboarding.report.text import MARKS

# A verdict is told by a word and a mark; colours (of Okabe and Ito's set, darkened to 7:1 on white) and the style of
# the border only repeat it, so that grey print and any colour vision lose nothing.
STYLE = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { font: 11pt/1.45 "Liberation Sans", Arial, sans-serif; color: #111; background: #fff; margin: 2rem auto;
  max-width: 75rem; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin: 0 0 .3rem; }
h2 { font-size: 1.15rem; margin: 1.6rem 0 .4rem; }
p { margin: .3rem 0; max-width: 60rem; overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; min-width: 58rem; table-layout: fixed; }
caption { text-align: left; padding: 0 0 .4rem; color: #333; }
th, td { text-align: left; vertical-align: top; padding: .4rem .5rem; border: 1px solid #777; overflow-wrap: anywhere; }
thead th { background: #eee; }
tbody th { font-weight: 600; }
.wide { overflow-x: auto; }
.wide:focus-visible { outline: 3px solid #003f70; outline-offset: 2px; }
.verdict { font-weight: 700; padding-left: .5rem; }
tbody .group { background: #f4f4f4; }
.meets-recommended { color: #00492f; border-left: .55rem solid #00492f; }
.meets-minimum { color: #003f70; border-left: .55rem double #003f70; }
.fails { color: #8a2d00; border-left: .55rem dashed #8a2d00; }
.could-not-tell { color: #6b2450; border-left: .55rem dotted #6b2450; }
.conclusion { font-size: 1.15rem; font-weight: 700; padding: .6rem .8rem; }
.sign { margin-top: 2rem; display: flex; gap: 2rem; }
.sign p { flex: 1; border-top: 1px solid #111; padding-top: .3rem; }
@page { size: A4 landscape; margin: 12mm;
  @bottom-right { content: counter(page) " / " counter(pages); font: 8pt "Liberation Sans", Arial, sans-serif; } }
@media print {
  body { font-size: 8.5pt; line-height: 1.3; margin: 0; max-width: none; padding: 0; }
  th, td { padding: .25rem .4rem; }
  table { min-width: 0; }
  thead { display: table-header-group; }
  tr, section, .conclusion { break-inside: avoid; }
  h2, .group { break-after: avoid; }
  .wide { overflow: visible; padding-right: 1px; }
}
"""


def document(title: str, body: str) -> str:
    """A whole page. ``body`` is HTML; ``title`` is text."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>{text(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n{body}</main>\n</body>\n</html>\n"
    )


def text(value: str) -> str:
    """Text that is safe in HTML and its attributes."""
    return escape(formatting.printable(value), quote=True)


def verdict_cell(verdict: Verdict) -> str:
    """A cell with a mark, which a screen reader skips, and text."""
    mark = f'<span aria-hidden="true">{MARKS[verdict]}</span>'
    return f'<td><div class="verdict {verdict.value}">{mark} {text(verdict.label)}</div></td>'


def table(caption: str, widths: tuple[int, ...], heads: tuple[str, ...], rows: list[str]) -> str:
    """``rows`` are HTML of whole ``<tr>`` or ``<tbody>``; ``widths`` in percent."""
    columns = "".join(f'<col style="width:{width}%">' for width in widths)
    head = "".join(f'<th scope="col">{text(h)}</th>' for h in heads)
    body = "\n".join(rows if rows and rows[0].startswith("<tbody>") else ["<tbody>", *rows, "</tbody>"])
    return (
        f'<div class="wide" role="region" aria-label="{text(caption)}" tabindex="0">\n<table>\n'
        f"<caption>{text(caption)}</caption>\n<colgroup>{columns}</colgroup>\n"
        f"<thead><tr>{head}</tr></thead>\n{body}\n</table>\n</div>\n"
    )
