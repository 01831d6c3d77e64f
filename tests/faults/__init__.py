"""Hostile and unusual servers, case by case; the numbers (F07) are those of the catalogue of faults."""
