"""An experiment as a Five Safes RO-Crate (https://w3id.org/5s-crate/0.4): one zip with one BagIt bag.

``actions`` has what was done and decided, ``document`` the whole description, ``bag`` puts it into the zip.
"""
