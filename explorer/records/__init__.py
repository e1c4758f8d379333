"""What crosses from a training loop to a run folder, and the tables that it becomes."""
