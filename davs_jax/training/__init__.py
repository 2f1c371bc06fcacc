"""Training one stage: losses, the step, the state, the loop."""
