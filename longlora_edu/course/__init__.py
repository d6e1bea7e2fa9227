"""What the notebooks need: predictions, quizzes, exercise checks, the environment, and the editions."""

from .environment import check as check_environment
from .journal import Journal
from .predict import predict, reveal
from .quiz import Question, quiz
from .studied import show_study

__all__ = [
    "Journal",
    "Question",
    "check_environment",
    "predict",
    "quiz",
    "reveal",
    "show_study",
]
