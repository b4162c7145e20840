"""The search: space, budget, study, run folder."""
