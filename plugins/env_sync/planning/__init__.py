"""What a night does: the plan of an environment, what a run was asked for. Pure."""
