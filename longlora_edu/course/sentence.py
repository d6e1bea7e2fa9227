"""The running example of the course: one sentence, a word a token, whose *it* must look back to *dog*."""

SENTENCE = "The dog that chased the cat all afternoon was tired so it"
