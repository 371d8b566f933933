"""The rules by which outputs are looked at, as data: each with its version, its source and its threshold.

What each asks is said in docs/tools.md, "What leaves"; a site's log names rule and version with each finding.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

FLOOR = 10
"""persons, unless the site's own policy says otherwise"""
LOWEST_FLOOR = 5
"""that a site may set; no hub, tool or document sets any"""


@dataclass(frozen=True)
class Rule:
    """One rule. ``threshold`` is None where it has none; the floor's own is the site's."""

    id: str
    version: int
    source: str
    threshold: float | None = None


_ACRO = "ACRO 1.0.2, default.yaml"
_DSBASE = "DataSHIELD dsBase 6.3.3, disclosure settings"
_OPENSAFELY = "OpenSAFELY, permitted file types and output checking"
_OURS = "fedproc, shown by tests/site/policy"

POLICY = Rule("policy.release", 1, "the site's policy")
SAMPLE = Rule("policy.sample", 1, "SATRE 3.3.08; the number is ours")
DECLARED = Rule("declared.what", 1, _OURS)
NAMES = Rule("declared.names", 1, _OURS)
BYTES = Rule("size.bytes", 1, _OPENSAFELY, 16 << 20)
FILES = Rule("size.files", 1, "Findata, files of one request", 50)
KIND = Rule("kind.of_file", 1, _OPENSAFELY)
STRICT = Rule("read.strict", 1, _OURS)
SCHEMA = Rule("read.schema", 1, _OURS)
ELSEWHERE = Rule("read.elsewhere", 1, _OURS)
LAYOUT = Rule("read.layout", 1, _OURS)
ROOM = Rule("room.choices", 1, _OURS, 4_000)
SUBJECTS = Rule("room.groups", 1, _OURS, 40)
IDENTIFIERS = Rule("rows.identifiers", 1, "OpenSAFELY, no patient_id column")
CHECKED = Rule("look.checked", 1, _OURS)
BY_EYE = Rule("look.person", 1, "SATRE 3.3.07")
MODEL_FORMAT = Rule("model.format", 2, "SACRO-ML, no pickle")
MODEL_TEXTS = Rule("model.texts", 1, _OURS)
FLOOR_RULE = Rule("persons.floor", 1, "ACRO, ABS, FLIP: 10 persons", FLOOR)
PRESENT = Rule("persons.present", 1, _OURS)
ZERO = Rule("persons.zero", 1, f"{_ACRO}: zeros_are_disclosive")
MANY = Rule("persons.many", 1, _OURS, 10_000_000)
COMPLEMENT = Rule("persons.complement", 1, f"{_DSBASE}: a subset's complement")
RATE = Rule("persons.rate", 1, "OpenSAFELY, numerators of rates")
GROUP_MOST = Rule("group.most", 1, "ABS, group disclosure", 0.90)
GROUP_ALL = Rule("group.all", 1, "ABS, group disclosure; OpenSAFELY, 0 and 100 %", 1.0)
TOTAL = Rule("table.total", 1, _OURS)
HIDDEN = Rule("table.hidden", 1, "GaussSuppression 1.3.0, interval protection")
LEVELS = Rule("table.levels", 1, f"{_DSBASE}: nfilter.levels.max", 40)
BINS = Rule("histogram.bins", 1, "NVFLARE, histogram bins of n", 0.10)
DOMINANCE = Rule("sums.dominance", 1, f"{_ACRO}: safe_nk_n 2, safe_nk_k", 0.90)
P_PERCENT = Rule("sums.p_percent", 1, f"{_ACRO}: safe_pratio_p", 0.10)
TAIL = Rule("position.tail", 1, f"{_DSBASE}: quantiles")
EXTREME = Rule("position.extreme", 1, "OpenSAFELY, no minimum and maximum")
AT_RISK = Rule("survival.at_risk", 1, f"{_ACRO}: survival_safe_threshold", 10)
FREEDOM = Rule("model.freedom", 1, f"{_ACRO}: safe_dof_threshold", 10)
PARAMETERS = Rule("model.parameters", 1, "v6-glm, parameters of rows", 0.10)
DIFFERENCE = Rule("ledger.difference", 1, "ABS, differences of cohorts; dsBase, a subset's complement", FLOOR)
UNKNOWN = Rule("ledger.unknown", 1, _OURS)
REPEAT = Rule("ledger.repeat", 1, "Focus, the same noise for the same question")
BUDGET = Rule("ledger.budget", 1, "Ads Data Hub and Snowflake, budgets; number ours", 50)
FULL = Rule("ledger.full", 1, _OURS)

RULES: tuple[Rule, ...] = tuple(rule for rule in list(globals().values()) if isinstance(rule, Rule))

OF_FLOOR = (FLOOR_RULE, DIFFERENCE)
"""whose threshold is the site's floor"""


def as_json() -> bytes:
    """All rules, as they are kept beside a transparency log that names :data:`EDITION`."""
    return (json.dumps([asdict(rule) for rule in RULES], indent=1, sort_keys=True) + "\n").encode()


EDITION = hashlib.sha256(as_json()).hexdigest()
"""names exactly these rules, versions and thresholds"""
