"""What is asked in a tool-use workflow, and how it is marked. Pure: no HTTP, files, clock or threads.

The way of one trial: ``workload`` picks a task (``tasks``) and renders it (``prompts``, with a plan from ``plans``,
perhaps damaged by ``flaws``); ``dialogue`` talks to the model, reading its replies with ``parsing`` and answering
calls from the ``sandbox``, whose luck is ``reliability``; ``scoring`` marks what came of it.
"""
