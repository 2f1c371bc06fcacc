"""Training one stage: the resolved stage, losses, step, state, loop."""
