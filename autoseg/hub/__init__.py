"""The Hugging Face Hub: push, pull, data sets, Spaces; every failure as a clear sentence."""
