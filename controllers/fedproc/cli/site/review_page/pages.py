"""What the page shows, as HTML without scripts. Whatever a tool wrote goes through :func:`text`."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from fedproc.cli.site.contents import Content
from fedproc.cli.site.escaping import escaped

MOST_ROWS = 1000
_DOCUMENT = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} – fedproc</title>
<link rel="stylesheet" href="/style.css">
</head>
<body>
<header><nav aria-label="Pages"><a href="/">All that waits</a></nav></header>
<main>
{body}
</main>
</body>
</html>
"""

Entry = Mapping[str, Any]


@dataclass(frozen=True)
class Typed:
    """A decision that was sent and not taken: the values of its form, and why."""

    wrong: str = ""
    reason: str = ""
    files: Sequence[str] = ()


_NOTHING = Typed()


def text(value: object) -> str:
    """Text of others as HTML: no mark-up, and nothing that is not seen."""
    return html.escape(escaped(str(value)))


def document(title: str, body: Iterable[str]) -> str:
    """A whole page."""
    return _DOCUMENT.format(title=text(title), body="\n".join(body))


def table(name: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Cells are HTML already; the first of each row is its head."""
    columns = "".join(f'<th scope="col">{each}</th>' for each in head)
    body = "".join(
        f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in rest)}</tr>' for first, *rest in rows
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{name}"><table><thead><tr>{columns}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def overview(host: str, entries: Sequence[Entry], notice: str = "") -> str:
    """All that waits; ``notice`` says what was decided last."""
    rows = (
        (
            f'<a href="/job/{quote(entry["job"])}"><code>{text(entry["job"])}</code></a>',
            text(f"{entry['tool']} {entry['version']}"),
            text(entry["user"]),
            text(", ".join(entry["classes"])),
            text(len(entry["files"])),
            text(entry["findings_count"]),
            text(f"{entry['persons_decided']} of {entry['persons_needed']}"),
            moment(entry["since"]),
            moment(entry["until"]),
        )
        for entry in entries
    )
    head = ("Job", "Tool", "For", "Class", "Files", "Findings", "Persons", "Since", "Stays here from")
    found = table("What waits", head, rows) if entries else "<p>Nothing waits.</p>"
    status = f'<p role="status">{text(notice)}</p>' if notice else ""
    return document("What waits", (f"<h1>What waits for a person at {text(host)}</h1>", status, found))


def job(entry: Entry, form_token: str, host: str = "", typed: Typed = _NOTHING) -> str:
    """One job of this ``host``, its files and what each rule found; ``typed`` comes back for its correction."""
    facts = {
        "Tool": text(f"{entry['tool']} {entry['version']}, task {entry['task']}"),
        "For": text(entry["user"]),
        "Project": _whose(entry, "project"),
        "Purpose": _whose(entry, "purpose"),
        "Since": moment(entry["since"]),
        "Stays here from": f"{moment(entry['until'])}, if nobody has decided by then",
        "Persons": text(f"{entry['persons_decided']} of {entry['persons_needed']} have decided"),
    }
    return document(
        f"Job {entry['job']}{_at(host)}",
        (
            f"<h1>Job <code>{text(entry['job'])}</code>{text(_at(host))}</h1>",
            *([f'<p class="warning" role="alert">Nothing was decided: {text(typed.wrong)}</p>'] if typed.wrong else []),
            "<dl>" + "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in facts.items()) + "</dl>",
            *_not_yours(entry),
            "<h2>What the rules found</h2>",
            _findings(entry["findings"]),
            "<h2>Files</h2>",
            _files(entry, form_token, typed),
        ),
    )


def _at(host: str) -> str:
    return f" at {host}" if host else ""


def _whose(entry: Entry, name: str) -> str:
    """A term of the job with whose word it is."""
    if not entry[name]:
        return "–"
    provider = entry.get("told_by", {}).get(name)
    return f"{text(entry[name])} ({f'by its grant, as {text(provider)} tells it' if provider else 'as the user says'})"


def _not_yours(entry: Entry) -> Iterable[str]:
    if not entry["may_decide"]:
        yield '<p class="warning">You made this tool, or asked for this job: somebody else decides.</p>'


def _findings(found: Sequence[Entry]) -> str:
    if not found:
        return "<p>No rule found anything.</p>"
    rows = (
        (
            text(each["output"]),
            f'<code class="rule">{text(each["rule"])}</code> {text(each["version"])}',
            f'<span class="refused">{text(each["result"])}</span>'
            if each["result"] == "refuse"
            else text(each["result"]),
            text("–" if each["threshold"] is None else each["threshold"]),
            text(each["found"]),
            text(each["source"]),
        )
        for each in found
    )
    return table("Findings", ("Output", "Rule", "Result", "Threshold", "Found", "Source"), rows)


def _files(entry: Entry, form_token: str, typed: Typed) -> str:
    rows = (
        (
            f'<a href="{address(entry["job"], file["path"])}">{text(file["path"])}</a>',
            text(file["class"]),
            text(file["findings"]),
            _choice(file, typed.files),
            f"<code>{text(file['sha256'])}</code>",
        )
        for file in entry["files"]
    )
    listed = table("Files", ("File", "Class", "Findings", "Decide", "SHA-256"), rows)
    if not any(_is_open(file) for file in entry["files"]) or not entry["may_decide"]:
        return listed
    return form(entry["job"], form_token, listed, "Tick the files that you decide about.", typed.reason)


def _is_open(file: Entry) -> bool:
    return not file["kept"] and file["said"] is None


def _choice(file: Entry, ticked: Sequence[str] = ()) -> str:
    if file["kept"]:
        return '<span class="refused">a rule refuses it</span>'
    if file["said"] is not None:
        return "you released it" if file["said"] else "you refused it"
    value = f"{file['sha256']} {file['path']}"
    checked = " checked" if escaped(value) in ticked else ""
    name = f"Decide about {text(file['path'])}"
    return f'<input type="checkbox" name="file" value="{text(value)}" aria-label="{name}"{checked}>'


def form(job_id: str, form_token: str, inside: str, hint: str, reason: str = "") -> str:
    """A decision; ``inside`` is HTML."""
    written = html.escape(reason)
    return f"""<form method="post" action="/job/{quote(job_id)}">
<input type="hidden" name="form_token" value="{text(form_token)}">
{inside}
<fieldset><legend>Decision</legend>
<p>{hint} A decision is about exactly these bytes, and stays.</p>
<label>Reason; it stays on this host <textarea name="reason" maxlength="4000" required>{written}</textarea></label>
<button name="decision" value="release">Release</button>
<button name="decision" value="refuse">Keep here</button>
</fieldset>
</form>"""


def file_page(entry: Entry, file: Entry, content: Content, form_token: str, host: str = "") -> str:
    """What is in one file of a job of this ``host``."""
    found = [each for each in entry["findings"] if each["output"] == file["output"]]
    return document(
        f"{file['path']}{_at(host)}",
        (
            f"<h1>{text(file['path'])}</h1>",
            f'<p>of <a href="/job/{quote(entry["job"])}">job <code>{text(entry["job"])}</code></a>{text(_at(host))},'
            f" class {text(file['class'])}, SHA-256 <code>{text(file['sha256'])}</code></p>",
            *(f'<p class="warning">{text(note)}</p>' for note in content.notes),
            "<h2>Content</h2>",
            _content(entry["job"], file, content),
            "<h2>What the rules found</h2>",
            _findings(found),
            *_decide_here(entry, file, form_token),
        ),
    )


def _decide_here(entry: Entry, file: Entry, form_token: str) -> Iterable[str]:
    if not _is_open(file):
        yield f"<p>{_choice(file)}</p>"
    elif entry["may_decide"]:
        value = text(f"{file['sha256']} {file['path']}")
        named = f'<input type="hidden" name="file" value="{value}">'
        yield form(entry["job"], form_token, named, "About this file alone.")


def _content(job_id: str, file: Entry, content: Content) -> str:
    if content.kind == "picture":
        source = f"/job/{quote(job_id)}/bytes?{urlencode({'path': file['path']})}"
        return f'<img src="{html.escape(source)}" alt="The picture {text(file["path"])}">'
    if content.rows:
        head, *rows = content.rows
        width = max(map(len, content.rows))
        padded = ([*map(html.escape, row), *[""] * (width - len(row))] for row in rows[:MOST_ROWS])
        columns = [*(html.escape(each) or "–" for each in head), *["–"] * (width - len(head))]
        return table("Content", columns, (each for each in padded if each)) + _left(len(rows))
    lines = "\n".join(map(html.escape, content.lines[:MOST_ROWS]))
    shown = f'<div class="scroll" tabindex="0" role="region" aria-label="Content"><pre>{lines}</pre></div>'
    return shown + _left(len(content.lines))


def _left(count: int) -> str:
    left = count - MOST_ROWS
    return f'<p class="warning">{left} more lines: fedproc site show, with --all</p>' if left > 0 else ""


def notice(title: str, message: str) -> str:
    """A page that says one thing."""
    return document(title, (f"<h1>{text(title)}</h1>", f"<p>{text(message)}</p>"))


def decided(job_id: str, paths: Sequence[str], is_released: bool) -> str:
    """What was decided about files of a job, in a sentence."""
    single = len(paths) == 1
    what = paths[0] if single else f"{len(paths)} files"
    word = f"{'is' if single else 'are'} released" if is_released else f"{'stays' if single else 'stay'} here"
    return f"Decided: {what} of job {job_id} {word}."


def moment(value: str | None) -> str:
    """A time as the orchestrator gave it."""
    if value is None:
        return "–"
    return f'<time datetime="{text(value)}">{text(value[:16].replace("T", " "))} UTC</time>'


def address(job_id: str, path: str) -> str:
    """Where a file's content is shown."""
    return html.escape(f"/job/{quote(job_id)}/file?{urlencode({'path': path})}")
