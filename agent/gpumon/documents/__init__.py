"""The documents that ``-o json`` prints, the API serves and recordings keep; and their schema."""
