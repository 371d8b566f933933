"""Takes secrets out of text that is about to leave the host. What looks like one is taken for one."""

from __future__ import annotations

import re

REMOVED = "[removed]"
_TELLTALE = r"(?:pass(?:word|wd|phrase)?|secret|token|api[_-]?key|private[_-]?key|credentials?|cookie|enrol\w*code)"
_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    # Private keys in PEM, also cut off ones; the escaped line ends are those of keys inside JSON.
    (
        re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|\Z)", re.DOTALL),
        REMOVED,
    ),
    # JWS and JWE in compact form.
    (re.compile(r"\beyJ[\w-]+(?:\.[\w-]*){2,4}"), REMOVED),
    # A private JWK's members (RFC 7518, 6.2.2 and 6.3.2).
    (re.compile(r'("(?:d|p|q|dp|dq|qi|k)"\s*:\s*)"[\w-]{16,}"'), rf'\1"{REMOVED}"'),
    # user:password@ and token@ in addresses.
    (re.compile(r"(\w://)[^/\s@\"']+@"), rf"\1{REMOVED}@"),
    (re.compile(r"(?im)((?:proxy-)?authorization[\"']?\s*[:=]\s*)[^\r\n]+"), rf"\1{REMOVED}"),
    (re.compile(r"(?i)\b((?:bearer|basic)\s+)[\w+/=.~-]{6,}"), rf"\1{REMOVED}"),
    # name = value, "name": "value"
    (
        re.compile(rf"(?i)([\w.-]*{_TELLTALE}[\w.-]*[\"']?\s*[:=]\s*)(\"[^\"]*\"|'[^']*'|[^\s,;&]+)"),
        rf"\1{REMOVED}",
    ),
    # --name value
    (re.compile(rf"(?i)(--?[\w-]*{_TELLTALE}[\w-]*\s+)[^\s-]\S*"), rf"\1{REMOVED}"),
)


def redact(text: str) -> str:
    """The text with :data:`REMOVED` in place of everything that may be a secret."""
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text
