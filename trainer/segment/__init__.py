"""The trainer of `tiny`, the segmenter that cuts an item out of its frame."""
