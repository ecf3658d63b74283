"""The report: one HTML file that holds all a reader needs, and its plots as files.

``facts`` adds rows up, ``figures`` and ``tables`` say what is shown, ``svg`` and its users draw it, ``conversations``
packs what was said, ``page`` writes it all. Knows no store: it is handed rows, conversations and changes of limits.
"""
