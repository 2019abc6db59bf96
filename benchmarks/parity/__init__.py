"""How far each export is from what was trained."""
