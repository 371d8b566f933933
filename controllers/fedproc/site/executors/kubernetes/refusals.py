"""What an API server's refusals mean to whoever runs the host: a cure for each that is known (Kubernetes 1.34)."""

from __future__ import annotations

import re

_DOCUMENTED = "docs/executors.md"
_CURES = {
    r"exceeded quota": (
        "it waits for room in the namespace's ResourceQuota, or needs a larger one; give the host no more capacity than"
        " the quota has"
    ),
    r"must specify \S+(,\S+)* for": "the namespace's ResourceQuota counts what pods of jobs do not name: take it out",
    r"violates PodSecurity": f"the namespace may be of the level restricted, with folders by claim ({_DOCUMENTED})",
    r'namespaces? "[^"]*" not found': f"have the namespace made, with what {_DOCUMENTED} gives the host in it",
    r"is being terminated": "the namespace is being deleted: name another, or have it made anew once it is gone",
    r"no PriorityClass": "name one that the cluster has (kubernetes.priority_class)",
    r'RuntimeClass "[^"]*" not found': "name one that the cluster has (kubernetes.runtime_class)",
    r'serviceaccount "[^"]*" not found': "the cluster makes it a moment after the namespace; else have it made",
    r" cannot [a-z]+ resource ": f"bind the host's account to the Role of {_DOCUMENTED}",
}


def cure_of(message: str) -> str:
    """What to do about a refusal; empty if it is none of these (a webhook's, a limit that only some jobs pass)."""
    return next((cure for pattern, cure in _CURES.items() if re.search(pattern, message)), "")
