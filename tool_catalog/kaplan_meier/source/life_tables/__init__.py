"""What life tables share: time bins of at least so many persons, and survival from counts by bin."""
