"""The dashboard: pages for people, made here and asked of the API as their reader.

A page reads and acts by the API's own endpoints (:mod:`fedproc.central.api.pages.backend`), with the token of who is
signed in: whatever a page can do, the API allows, counts and writes down.
"""
