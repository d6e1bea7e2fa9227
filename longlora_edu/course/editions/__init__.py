"""Student, solution and instructor notebooks out of one source, `notebooks/source/NN_….py`."""

from .assemble import EDITIONS, build, edition
from .outputs import execute
from .source import Lesson, lessons, problems, read_lesson

__all__ = ["EDITIONS", "Lesson", "build", "edition", "execute", "lessons", "problems", "read_lesson"]
