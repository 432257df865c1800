"""Noise, schedules, solvers, guidance rules, and images that are kept one by one."""
