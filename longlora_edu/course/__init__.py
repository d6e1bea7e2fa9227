"""Everything that lessons share: predictions, quizzes, tables, recorded runs, the environment; checks; the editions."""

# Of runs, whose page documents them; lessons take them from here.
from ..runs.records import recorded as recorded
from ..runs.records import recorded_line as recorded_line
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
    "require",
    "reveal",
    "show_study",
    "show_table",
]
