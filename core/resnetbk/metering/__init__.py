"""What a run costs: seconds, memory and executed FLOPs, by phase and by component."""
