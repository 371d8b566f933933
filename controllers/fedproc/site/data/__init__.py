"""The host's datasets: the Data API's interface and its adapters."""
