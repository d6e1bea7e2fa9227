"""Pieces of a lesson: predictions, quizzes, cards, the journal and the environment."""
