# ---
# jupyter:
#   longlora_edu:
#     title: Groups, the shift and the boundary
#     moved: true
# ---

# %% [markdown]
# This lesson is now three lessons of half an hour:
#
# - [02a · The wall and the shift](02a_wall_and_shift.ipynb): who sees whom, and what the shift is for (exercises 2.1 to
#   2.3);
# - [02b · Reach](02b_reach.ipynb): how far a word is heard through the layers (2.4 and 2.5);
# - [02c · The seam and the leak](02c_seam_and_leak.ipynb): where the future leaks, and how you see it (2.6 and 2.7).
#
# What you have solved and predicted stays in your `progress.json`: the names of exercises and predictions are the same.
