"""Side by side: this project against what a user would pick instead; see docs/benchmarks.md."""
