"""The verbs that the instrument brings, and their tables in the terminal."""
