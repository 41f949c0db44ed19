"""Training: loss, optimisation, schedules, state, checkpoints."""
