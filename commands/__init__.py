"""What did the user say? Options, their checks, and the sub-commands."""
