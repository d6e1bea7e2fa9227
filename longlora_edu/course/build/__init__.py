"""Student, solution and instructor notebooks out of one source, `notebooks/source/NN_….py`; copies and the lab.

Nothing is imported here: copying the course needs none of the libraries that build it.
"""
