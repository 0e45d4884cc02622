"""Architectures (LegNet, CLIPNET), their input encoding, and checkpoint folders."""
