"""Tests of ``where=``."""
