"""What the trainings of the demonstrator's network share: patches of DICOM images, parameters, measures, programs.

Each tool carries a copy in its source, since that is signed: scripts/copy-library puts it there.
"""
