"""What the regressions of the catalogue share: formula, design of one site's rows, and which sums may leave.

Each tool carries a copy in its source, since that is signed: scripts/copy-library puts it there.
"""
