"""What the centre keeps, for how long, and how it is deleted: by age, by its owner, or for a person who leaves."""
