"""What a run costs: seconds, memory and executed operations, by phase and by component."""
