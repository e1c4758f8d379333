"""Training into a run folder (`into_folder`), and a queue of child processes that do so (`run_queue`).

Only `into_folder` loads torch; the queue is for the command line and the app alike.
"""
