"""The Keras networks, one file each (heavy half: keras)."""
