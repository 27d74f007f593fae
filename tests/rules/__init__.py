"""Tests of the recording and alert rules."""
