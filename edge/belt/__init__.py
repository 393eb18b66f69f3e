"""The belt: where it is, which items are on it, and when each meets its diverter."""
