"""The model factory: a folder of labelled pictures becomes a verified int8 bundle."""
