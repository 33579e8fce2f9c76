"""The foreign project: oscar's own defaults, and nothing of oscar's changed."""
