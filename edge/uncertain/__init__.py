"""Pictures of items that the bin was not sure of: kept on it, bounded, and sent only if allowed.

`choose` says which items, `blur` hides people on them, `store` keeps them, `collector` does both
beside the loop, `courier` sends.
"""
