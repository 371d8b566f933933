"""``python -m fedproc.demo.issuer --config FILE``."""

from __future__ import annotations

from fedproc.demo.issuer.app import main

raise SystemExit(main())
