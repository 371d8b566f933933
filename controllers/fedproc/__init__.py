"""fedproc: federated processing for EUCAIM."""
