"""Running a comparison: its plan, the trainings in turns, and the journal that holds them."""
