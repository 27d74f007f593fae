"""The tests mirror the package; see CONTRIBUTING.md."""
