#!/usr/bin/env python3
"""What we promise, shown by checks that could fail (make proof)."""
