"""The project's words: frozen records, errors, seeded draws and the plan. Pure: no files, clock, threads, third parties."""
