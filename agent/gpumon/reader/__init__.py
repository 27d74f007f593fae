"""The process that reads: the only one that ever loads the driver's library.

``child`` is what runs in it, ``supervisor`` is how the server starts it, hears it, and starts
another one when it dies or stands still. Between them goes one socket, and over it only frames.
"""
