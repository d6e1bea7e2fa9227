"""What the notebooks need: predictions, quizzes, exercise checks, the environment, and the editions."""

from .notebook.environment import check as check_environment
from .notebook.journal import Journal
from .notebook.predict import predict, reveal
from .notebook.quiz import Question, quiz
from .notebook.studied import show_study

__all__ = [
    "Journal",
    "Question",
    "check_environment",
    "predict",
    "quiz",
    "reveal",
    "show_study",
]
