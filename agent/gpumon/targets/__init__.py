"""What a viewer looks at (TARGET), and how each kind is read and recorded."""
