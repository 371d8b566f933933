"""The Kubernetes executor: a pod per job, by the cluster's API, with its files in folders that the nodes share."""
