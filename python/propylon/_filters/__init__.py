"""Conditions on events, which Rust evaluates: how they are written, and which fields they fit."""
