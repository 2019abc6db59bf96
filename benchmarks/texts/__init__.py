"""Texts beside the bare libraries."""
