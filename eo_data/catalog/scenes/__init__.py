"""Scenes and places: what a folder or a catalogue offers where and when, and which pixels a place is."""
