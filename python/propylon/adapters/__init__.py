"""Propylon's engine under other libraries: `propylon.adapters.discordpy` and `propylon.adapters.hikari`.

Each is a package of its own with an extra of its own; importing this one imports neither.
"""
