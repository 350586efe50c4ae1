"""The lint program: what a change introduces, judged by pylint before and after it."""
