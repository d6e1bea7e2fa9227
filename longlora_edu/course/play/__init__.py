"""Things to play with in lessons: live training, the bug gallery, neighbouring patterns."""
