"""The main job on a real model: ``python -m secateur.demo``.

One file a question: packages, data, model, adapt, heal, timing, report. No pruning of its own.
"""
