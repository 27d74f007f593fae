"""The dashboards that ship, and a Grafana to push them to.

One direction: ``shipped`` says what is ours, ``server`` what a Grafana has, ``push`` compares the
two into changes and saves them. ``access`` holds the URL and the token, ``denials`` the words for
what a server may answer instead.
"""
