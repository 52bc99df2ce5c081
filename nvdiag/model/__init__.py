"""The words that every room shares: versions, findings, what could not be told."""
