"""Variant effects: scoring variants with checkpoints, and benchmarks against measured effects."""
