"""The agent's server: holds the last snapshot and can always answer.

``node`` is what is known now, ``app`` the HTTP endpoints, ``process`` what runs them beside the
reader.
"""
