"""A loaded release: questions, scores, answers."""
