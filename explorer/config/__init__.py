"""What a run is: its configuration in frozen dataclasses, with the checks of every field."""
