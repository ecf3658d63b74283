"""The words of the project: records, errors, seeded draws, the plan. Pure: no files, clock, threads."""
