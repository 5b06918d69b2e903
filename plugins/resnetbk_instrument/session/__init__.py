"""Making a comparison: its plan, the trainings in turns, and the journal they are kept in."""
