"""From files on disk to arrays: formats, masks, the checked data set, splits, cache."""
