"""Question banks: what is asked in an evaluation, and how it is marked.

The way of a bank: ``places`` finds its files, ``formats`` reads them as a stream of rows (``batch_lines`` the ones of
OpenAI's batch API), ``columns`` finds which column holds what, ``rows`` makes questions of rows, ``templates`` makes
messages of questions, ``preparing`` checks everything once and writes one file, and ``bank`` reads that file at random.
"""
