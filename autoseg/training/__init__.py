"""One trial: a recipe and cached data in, a trained network and its curve out."""
