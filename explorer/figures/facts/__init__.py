"""Facts: the numbers that texts of lessons and experiments name, computed from recorded runs."""
