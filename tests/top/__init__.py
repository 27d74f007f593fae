"""Tests of ``gpumon top``."""
