"""Its verbs, a file for each."""
