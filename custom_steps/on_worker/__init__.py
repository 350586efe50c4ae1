"""Programs that run on the worker: sent by the step as text, standard library only, Python 3.11 or later.

They reach the worker's ``python3`` through its standard input (`custom_steps.bundle`), so that a worker needs nothing
of Autogate's. What they need of each other, of `custom_steps.parsing` and of `autogate.gitwords` travels along.
"""
