"""Student, solution and instructor notebooks out of one source, `notebooks/source/NN_….py`."""

from .assemble import EDITIONS, Edition, build, edition
from .outputs import execute
from .repository import Repository, read_repository
from .source import Lesson, lessons, problems, read_lesson
from .stamp import stamp

__all__ = [
    "EDITIONS",
    "Edition",
    "Lesson",
    "Repository",
    "build",
    "edition",
    "execute",
    "lessons",
    "problems",
    "read_lesson",
    "read_repository",
    "stamp",
]
