"""What the machine has for jobs, what each holds of it, and which job gets the next share."""
