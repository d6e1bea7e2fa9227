"""The main job, `longlora-edu demo`, and its report."""
