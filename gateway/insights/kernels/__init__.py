"""The questions as pure functions over sorted arrays: no I/O, no clock, no names.

Definitions in words: gateway/insights/README.md. Every kernel is linear in the events after one sort. Times are
milliseconds since 1970 UTC and stay whole numbers.
"""
