"""Recorded-like machines that many tests share."""
