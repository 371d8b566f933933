"""Folders of DICOM files as tools over images read them: whatever the bytes are, and within bounds."""
