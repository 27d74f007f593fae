"""All that the agent remembers: one SQLite file, and all SQL that there is."""
