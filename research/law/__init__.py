"""A law for recall at a distance: predicted from the geometry and pilots, written down, then measured."""
