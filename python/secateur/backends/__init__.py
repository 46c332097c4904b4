"""Choosing a kernel for a problem, and being able to say which."""
