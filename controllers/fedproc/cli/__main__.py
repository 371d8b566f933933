"""``python -m fedproc.cli`` is ``fedproc``."""

from fedproc.cli.main import main

main()
