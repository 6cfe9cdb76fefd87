"""Measures the road on this machine: real processes, real sockets, real disk; compares ids, so that a lost event is seen."""
