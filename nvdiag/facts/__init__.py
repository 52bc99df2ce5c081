"""Facts: pure readings of what a host answers, as frozen values. No judgement, no I/O but through `Host`."""
