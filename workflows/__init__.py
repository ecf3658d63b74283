"""What is asked in a tool-use workflow, and how is it marked? Never sees HTTP, files, clocks or threads."""
