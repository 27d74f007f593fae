"""The agent's server: holds the last snapshot and can always answer.

``node`` is what is known now, ``facts`` the metrics about the agent itself, ``app`` the HTTP
endpoints, ``server`` the process that runs them beside the reader.
"""
