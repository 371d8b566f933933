"""Datasets that are not folders of this machine: a PACS that speaks DICOMweb, and a site's own Data API."""
