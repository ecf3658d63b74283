"""What must survive a crash? Run directory, journal, results stores."""
