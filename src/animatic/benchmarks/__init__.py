"""Benchmarks: cases, runs of jobs, detectors, scores, reports."""
