"""What the trainings of a linear regression share: how one site's rows are read and judged before anything is told.

Each tool carries a copy in its source, since that is signed: scripts/copy-library puts it there.
"""
