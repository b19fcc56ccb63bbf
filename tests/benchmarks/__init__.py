#!/usr/bin/env python3
"""Whether what the benchmarks say follows from what they saw."""
