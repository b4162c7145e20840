"""autoseg: the best segmentation model that transfer learning can give in the minutes you have."""

__version__ = "0.1.0"
