"""What the notebooks need: predictions, quizzes, exercise checks, the environment, and the editions."""

from ..recorded import recorded, recorded_line
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
    "recorded",
    "recorded_line",
    "reveal",
    "show_study",
]
