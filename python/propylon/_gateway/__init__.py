"""The gateway itself: its face, its life in an event loop, its options, log and figures. The top of the package."""
