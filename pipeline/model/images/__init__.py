"""Images: what their headers say, how they become numbers, and how they are decoded."""
