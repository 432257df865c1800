"""Known error rates: what a calibration study measured, and what that says of another case.

Source: specification membership_sota.md, section 6, point 8.
"""
