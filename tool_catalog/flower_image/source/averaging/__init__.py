"""What the catalogue's trainings with Flower share: federated averaging over exactly the hosts of an experiment.

Each tool carries a copy in its source, since that is signed: scripts/copy-library puts it there. What is learned is the
tool's: a Learner at each site, a Learning at the server.
"""
