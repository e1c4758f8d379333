"""Facts: the numbers that texts of lessons and experiments name, asked of recorded runs."""
