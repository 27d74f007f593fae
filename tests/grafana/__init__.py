"""Tests of the dashboards that ship, and of pushing them."""
