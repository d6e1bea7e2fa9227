"""Everything that lessons share: predictions, quizzes, tables, recorded runs, the environment; checks; the editions."""

# Of runs, whose page documents them; lessons take them from here.
from ..runs.records import recorded as recorded
from ..runs.records import recorded_line as recorded_line
from .notebook.draw import draw
from .notebook.environment import check_environment, require
from .notebook.folded import after, open_sealed, run_sealed
from .notebook.html_tables import show_table
from .notebook.journal import Journal
from .notebook.overview import overview
from .notebook.parsons import parsons
from .notebook.predict import predict, reveal
from .notebook.quiz import Question, quiz
from .notebook.studied import show_study
from .play.living import living_model
from .sentence import SENTENCE

__all__ = [
    "SENTENCE",
    "Journal",
    "Question",
    "after",
    "check_environment",
    "draw",
    "living_model",
    "open_sealed",
    "overview",
    "parsons",
    "predict",
    "quiz",
    "require",
    "reveal",
    "run_sealed",
    "show_study",
    "show_table",
]
