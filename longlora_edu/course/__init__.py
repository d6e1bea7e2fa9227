"""Everything that lessons share: predictions, quizzes, tables, recorded runs, the environment; checks; the editions."""

from ..runs.records import recorded, recorded_line
from .notebook.environment import check_environment, require
from .notebook.html_tables import show_table
from .notebook.journal import Journal
from .notebook.overview import overview
from .notebook.predict import predict, reveal
from .notebook.quiz import Question, quiz
from .notebook.studied import show_study

__all__ = [
    "Journal",
    "Question",
    "check_environment",
    "overview",
    "predict",
    "quiz",
    "recorded",
    "recorded_line",
    "require",
    "reveal",
    "show_study",
    "show_table",
]
