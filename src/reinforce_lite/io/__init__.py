"""What must survive a kill: files, journals, signals, processes, provenance; and tables for a terminal."""
