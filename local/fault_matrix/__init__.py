"""The fault matrix: what must not happen while WorkMail, the worker and the queue misbehave."""
