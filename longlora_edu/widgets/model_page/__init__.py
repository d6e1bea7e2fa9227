"""A small model alive in a page: its weights packed, its forward pass in JavaScript, its face."""
