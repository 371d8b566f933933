"""EUCAIM's tracing service is told which datasets were used: ``recording`` makes traces, ``sender`` delivers them."""
